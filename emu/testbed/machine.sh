# What a guest needs: QEMU, a kernel, busybox, an accelerator; to be sourced by emu-testbed.
# shellcheck shell=bash

# Besides files by 9p: the network, and memory of all nodes as a device.
modules=(virtio_pci 9pnet_virtio 9p overlay virtio_net nfit nd_pmem dax_pmem device_dax)
# For --fsdax; a kernel without them serves all the rest. ext4 takes its checksum from another
# module, which nobody would load when it asks.
more_modules=(crc32c_generic ext4)

find_qemu() {
    [ "$(uname -m)" = x86_64 ] || missing "the guest is x86_64, and this is $(uname -m)"
    command -v qemu-system-x86_64 >/dev/null ||
        missing "no qemu-system-x86_64; it is in Debian's package qemu-system-x86"
    [ "${XDG_CACHE_HOME:-${HOME-}}" ] || missing "neither XDG_CACHE_HOME nor HOME is set"
    mkdir -p "$cache" 2>/dev/null || missing "cannot make the directory $cache"
}

# fetch PACKAGE REGEX: prints the newest of the cached files that match, fetching it if there is
# none.
fetch() {
    local package=$1 found reason
    mkdir -p "$cache/packages"
    found=$(find "$cache/packages" -maxdepth 1 -regex ".*/$2" | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        command -v apt-get >/dev/null || missing "no package $package and no apt-get to fetch it"
        if [ "$package" = linux-image-amd64 ]; then # it has no files; it depends on the newest
            package=$(apt-cache depends "$package" 2>/dev/null |
                sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
            [ "$package" ] || missing "apt knows no linux-image-amd64; maybe after apt-get update"
        fi
        echo "emu-testbed: fetching $package" >&2
        mkdir "$work/$package"
        reason=$(cd "$work/$package" && apt-get download "$package" 2>&1) ||
            missing "the package $package cannot be fetched: $(grep '^E:' <<<"$reason" |
                head -n 1)"
        mv "$work/$package"/*.deb "$cache/packages"
        found=$(find "$cache/packages" -maxdepth 1 -regex ".*/$2" | sort -V | tail -n 1)
        [ "$found" ] || missing "the fetched $package has an unexpected name"
    fi
    echo "$found"
}

# Sets busybox, from busybox-static: the guest needs one that works without libraries.
find_busybox() {
    local package
    busybox=/bin/busybox
    if ! [ -x "$busybox" ] || LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
        package=$(fetch busybox-static 'busybox-static_.*\.deb')
        mkdir -p "$work/busybox"
        dpkg -x "$package" "$work/busybox" || missing "cannot unpack $package"
        busybox=$work/busybox/bin/busybox
    fi
}

# has_modules TREE VERSION: they are there or built in.
has_modules() {
    local module
    for module in "${modules[@]}"; do
        grep -Eqs "/$module\.ko(:|\$)" "$1/lib/modules/$2"/modules.{dep,builtin} || return 1
    done
}

# Sets kernel_version and kernel_tree: empty for an installed kernel, else the package with it.
# Cloud kernels lack 9p.
find_kernel() {
    local image package
    kernel_tree=
    while IFS= read -r image; do
        kernel_version=${image#/boot/vmlinuz-}
        [ -r "$image" ] && has_modules / "$kernel_version" && return
    done < <(find /boot -maxdepth 1 -name 'vmlinuz-*' ! -name '*-cloud-*' 2>/dev/null | sort -rV)
    package=$(fetch linux-image-amd64 'linux-image-[0-9].*-amd64_.*\.deb')
    kernel_version=${package##*/linux-image-}
    kernel_version=${kernel_version%%_*}
    kernel_tree=$package
}

# Sets boot, the directory of the kernel and the initramfs for it; makes them where that is needed.
prepare() {
    local key
    find_qemu
    find_kernel
    key=$(cat "$here/guest-init" - <<<"${modules[*]} ${more_modules[*]}" | sha256sum)
    boot=$cache/$kernel_version-${key:0:12}
    if [ -d "$boot" ]; then
        touch "$boot"
        return
    fi
    echo "emu-testbed: preparing the guest's kernel $kernel_version" >&2
    find_busybox
    if [ "$kernel_tree" ]; then
        mkdir "$work/kernel"
        dpkg -x "$kernel_tree" "$work/kernel" || missing "cannot unpack $kernel_tree"
        kernel_tree=$work/kernel
        "$busybox" depmod -b "$kernel_tree" "$kernel_version"
        has_modules "$kernel_tree" "$kernel_version" ||
            missing "Linux $kernel_version lacks a module of: ${modules[*]}"
    fi
    mkdir "$work/boot"
    extract_vmlinux "$kernel_tree/boot/vmlinuz-$kernel_version" "$work/boot/kernel"
    make_initramfs "$work/boot/initramfs"
    # Another process may have been faster.
    mv -T "$work/boot" "$boot" 2>/dev/null || [ -d "$boot" ]
    # What other versions made goes when it was not used for a week.
    find "$cache" -mindepth 1 -maxdepth 1 -type d -name '*-????????????' -mtime +7 \
        -exec rm -rf {} +
}

# extract_vmlinux BZIMAGE OUT: uncompressed, the kernel starts faster under emulation. What
# cannot be uncompressed is left as it is.
extract_vmlinux() {
    local sectors offset length size tool
    sectors=$(od -An -tu1 -j497 -N1 "$1")
    read -r offset length < <(od -An -tu4 -j584 -N8 "$1")
    tail -c "+$(((sectors + 1) * 512 + offset + 1))" "$1" | head -c "$length" >"$work/payload" ||
        true # tail complains of the rest
    size=$(tail -c 4 "$work/payload" | od -An -tu4)
    # The size behind the payload makes tools complain after they have done their work.
    for tool in "xz --single-stream" gzip zstd; do
        $tool -dc <"$work/payload" >"$2" 2>/dev/null || true
        if [ "$(stat -c %s "$2")" -eq "$size" ] && [ "$(head -c 4 "$2")" = $'\x7fELF' ]; then
            return
        fi
    done
    cp "$1" "$2"
}

# make_initramfs OUT
make_initramfs() {
    local root=$work/initramfs tree=$kernel_tree/lib/modules/$kernel_version module file
    local target=$root/lib/modules/$kernel_version
    mkdir -p "$root/bin" "$target"
    cp "$busybox" "$root/bin/busybox"
    cp "$here/guest-init" "$root/init"
    chmod 755 "$root/init" "$root/bin/busybox"
    for module in "${modules[@]}" "${more_modules[@]}"; do
        # modules.dep has the dependencies of dependencies, too.
        grep "/$module\.ko:" "$tree/modules.dep" >"$work/dep" || continue
        echo "$module" >>"$root/modules"
        for file in $(tr -d : <"$work/dep"); do
            mkdir -p "$target/${file%/*}"
            cp "$tree/$file" "$target/$file"
            grep "^$file:" "$tree/modules.dep" >>"$target/modules.dep"
        done
    done
    sort -u -o "$target/modules.dep" "$target/modules.dep"
    # Not compressed: the guest's start is what takes time, not its loading.
    (cd "$root" && find . | "$busybox" cpio -o -H newc) >"$1" 2>/dev/null
}

# Sets accelerator, unless it was asked for: KVM if a guest gets as far as its first process there.
# That /dev/kvm can be opened is no sign: kernels do not start in every virtual machine that has it.
choose_accelerator() {
    local id verdict=tcg
    [ -z "$accelerator" ] || return 0
    accelerator=tcg
    { [ -r /dev/kvm ] && [ -w /dev/kvm ]; } || return 0
    id=$(cat /proc/sys/kernel/random/boot_id)
    if ! grep -Eqs "^$id " "$cache/accelerator"; then
        echo "emu-testbed: trying KVM" >&2
        (
            ulimit -c 0 # QEMU aborts where KVM fails
            timeout -k 1 15 "${qemu[@]}" -machine q35 -accel kvm -m 256M \
                -serial "file:$work/probe" -kernel "$boot/kernel" -initrd "$boot/initramfs" \
                -append "$kernel_options probe=yes" </dev/null
        ) >/dev/null 2>&1 || true
        ! grep -qs '^guest-init: started' "$work/probe" || verdict=kvm
        echo "$id $verdict" >"$work/accelerator"
        mv "$work/accelerator" "$cache/accelerator"
    fi
    read -r id accelerator <"$cache/accelerator"
}
