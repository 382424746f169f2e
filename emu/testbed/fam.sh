# Fabric-attached memory: a file in /dev/shm that Linux takes for a namespace of device DAX, or of
# one for a file system; to be sourced by emu-testbed.
# shellcheck shell=bash

fam_alignment=2097152 # of the device and its mappings; what the information takes in front, too
fam_page=4096

# make_fam SIZE MODE: sets fam to a new file of so many MiB, all of them secured: QEMU would die of
# memory that is not there. MODE is devdax or fsdax.
make_fam() {
    local bytes=$(($1 * 1048576))
    fam=$(mktemp /dev/shm/emu-testbed.XXXXXX) || missing "no file can be made in /dev/shm"
    ln -s "$fam" "$session/fam"
    fallocate -l "$bytes" "$fam" 2>/dev/null || missing "/dev/shm has no $1M left"
    printf '%b' "$(fam_information "$bytes" "$2")" |
        dd of="$fam" bs="$fam_page" seek=1 iflag=fullblock conv=notrunc status=none
}

# fam_information BYTES MODE: prints, as escapes, what `ndctl create-namespace --mode=MODE
# --map=mem` writes behind the first page: Linux's struct nd_pfn_sb, version 1.4.
fam_information() {
    local uuid word low=0 high=0
    local -a words
    uuid=$(tr -d - </proc/sys/kernel/random/uuid)
    words=(0x4944564e 0x445f4d4d 0x495f5841 0x004f464e) # "NVDIMM_DAX_INFO"
    if [ "$2" = fsdax ]; then
        words=(0x4944564e 0x505f4d4d 0x495f4e46 0x004f464e) # "NVDIMM_PFN_INFO"
    fi
    words+=("0x${uuid:0:8}" "0x${uuid:8:8}" "0x${uuid:16:8}" "0x${uuid:24:8}")
    words+=(0 0 0 0)                                    # no parent: the region has no labels
    words+=(0 $((4 << 16 | 1)))                         # flags, version
    words+=("$fam_alignment" 0)                         # where the memory begins
    words+=($((($1 - fam_alignment) / fam_page)) 0)     # its pages
    words+=(1 0 0 "$fam_alignment" "$fam_page" 64)      # struct page, of 64 bytes, is in RAM
    while [ ${#words[@]} -lt $((fam_page / 4 - 2)) ]; do
        words+=(0)
    done
    for word in "${words[@]}"; do # Fletcher's checksum
        low=$(((low + word) & 0xffffffff))
        high=$(((high + low) & 0xffffffff))
    done
    # The last two words are the checksum, and count as zeros.
    high=$(((high + 2 * low) & 0xffffffff))
    for word in "${words[@]}" "$low" "$high"; do
        printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((word & 255)) $((word >> 8 & 255)) \
            $((word >> 16 & 255)) $((word >> 24 & 255))
    done
}
