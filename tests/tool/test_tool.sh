#!/usr/bin/env bash
# Tests of the command-line tool: every command, report, exit code and kind of bad argument.
# ALPS_TOOL is the tool, ALPS_FILL the program that puts blocks into heaps.
# shellcheck disable=SC2016 # backquotes in patterns are meant
tool=${ALPS_TOOL:?ALPS_TOOL names the tool}
fill=${ALPS_FILL:?ALPS_FILL names the program fill}
. "$(dirname "$0")/../support/program.sh"
holder=
clean_up() {
    [ -z "$holder" ] || kill "$holder" 2>/dev/null
}

heap=$dir/heap

# expect STATUS ARGUMENT...: runs the tool. It has a message if and only if it fails.
expect() {
    local status=$1
    shift
    run "$status" "$tool" "$@"
    if [ "$status" -ne 0 ] && [ "$status" -ne 3 ] && [ ! -s "$dir/err" ]; then
        complain "alps $*: fails without a message"
    fi
    if [ "$status" -eq 0 ] && [ -s "$dir/err" ]; then
        complain "alps $*: a message though it succeeds"
    fi
}

# near WHAT GOT WANTED: the library rounds sizes by the granule of its tables.
near() {
    checks=$((checks + 1))
    if [ $(($2 * 16)) -lt $(($3 * 15)) ] || [ $(($2 * 16)) -gt $(($3 * 17)) ]; then
        complain "$1: $2, not about $3"
    fi
}

# fills ARGUMENT...: puts blocks into a heap; sets generation. A kill by -k is no failure.
fills() {
    local status=0
    generation=$("$fill" "$@" 2>"$dir/err") || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 137 ] || complain "fill $*: exit code $status"
}

fresh() {
    rm -f "$heap"
    "$tool" create --capacity 256M "$heap" >"$dir/out" 2>"$dir/err" || complain "no fresh heap"
}

commands='create info stat check walk roots recover bulk-free commit declare-dead grow trim format destroy'
writers='recover grow trim bulk-free commit declare-dead'
readers='info stat check walk roots'

# What a command needs besides FILE.
needs() {
    case $1 in
    grow) echo --size=64M ;;
    bulk-free | commit) echo --generation=9999 ;;
    declare-dead) echo --generation=9999 --yes ;;
    format | destroy) echo --yes ;;
    esac
}

# ---- help and the command line ----

expect 0 --help
says '^Usage: alps COMMAND'
for code in 0 1 2 3 4; do
    says "^  $code  "
done
for command in $commands; do
    says "^  $command "
done
cp "$dir/out" "$dir/help"
expect 0 help
cmp -s "$dir/out" "$dir/help" || complain "alps help is not alps --help"
expect 0 -h
expect 0 --version
says '^alps [0-9]+\.[0-9]+\.[0-9]+$'
for command in $commands; do
    expect 0 help "$command"
    says "^Usage: alps $command .*FILE"
    says '^Examples:'
    says "^  alps $command "
    says '--json'
    awk 'length > 100 { exit 1 }' "$dir/out" || complain "help $command: too long a line"
    cp "$dir/out" "$dir/help"
    expect 0 "$command" --help
    cmp -s "$dir/out" "$dir/help" || complain "alps $command --help is not alps help $command"
    expect 0 "$command" -h
    expect 2 "$command"
    if [ "$command" = grow ]; then
        warns "^alps: $command: --size is needed"
    else
        warns "^alps: $command: no FILE is given"
    fi
    expect 2 "$command" --bogus "$heap"
    warns "^alps: $command: unknown or ambiguous option --bogus"
    expect 2 "$command" -Z "$heap"
    warns "^alps: $command: unknown option -Z"
    expect 2 "$command" --json=yes "$heap"
    warns 'json takes no value'
done
"$tool" >"$dir/out" 2>"$dir/err"
equals 'exit code without arguments' $? 2
warns '^Usage: alps'
expect 2 wlak "$heap"
warns "do you mean 'walk'"
expect 2 bulkfree "$heap"
warns "do you mean 'bulk-free'"
expect 2 stats "$heap"
warns "do you mean 'stat'"
expect 2 help chek
warns "do you mean 'check'"
expect 2 frobnicate "$heap"
warns "unknown command 'frobnicate' \("
expect 2 "$(printf 'x%.0s' {1..300})"
expect 2 ''
expect 2 --frobnicate
expect 2 create --size
warns 'size needs a value'
expect 2 create -s
warns 'size needs a value'
expect 2 info --size 64M "$heap"
expect 2 create --yes "$heap"
expect 2 grow "$heap"
warns 'size is needed'
expect 2 bulk-free "$heap"
warns 'either --generation or --closed'
expect 2 commit --closed --generation 5 "$heap"
warns 'either --generation or --closed'
# shellcheck disable=SC2046
expect 2 info $(printf "$heap%d " {1..65})
warns '65 files'
expect 2 format --yes "$heap" "$heap"
expect 2 destroy --yes "$heap" "$heap"
[ -e "$heap" ] && complain 'bad usage has left a file'

# ---- sizes and lists ----

for size in '' 0 0k -1 +1 ' 1' '1 ' 1x 12Q 1.5G 0x10 M MB kib 1bb 1kk 1Mi 1iB 1MiBs 64M64M 1e9 \
    18446744073709551616 99999999999999999999999 16E 17179869184G 18014398509481984k; do
    expect 2 create --size "$size" "$heap"
    warns '^alps: create: --size .*: (not a size|too large|must be)'
done
expect 2 create --size 16E "$heap"
warns 'too large'
expect 2 create --capacity 0 "$heap"
expect 2 create --zone-size 0 "$heap"
expect 0 create --json --size 20971520 "$heap"
near 'size in bytes' "$(field size)" 20971520
exact=$(field size)
for size in 20971520B 20971520b 20480k 20480K 20480kB 20480KB 20480kib 20480KiB 20m 20M 20MiB 20mb; do
    rm -f "$heap"
    expect 0 create --json --size "$size" "$heap"
    equals "size $size" "$(field size)" "$exact"
done
rm -f "$heap"
expect 0 create --json --size 16M --capacity 1T "$heap"
near capacity "$(field capacity)" 1099511627776
expect 0 walk --min-size 15E "$heap"
expect 0 walk --min-size 18446744073709551615 "$heap"
rm -f "$heap"
for size in 1 1M 15M; do
    expect 2 create --size "$size" "$heap" # below the library's least size
done
expect 2 create --size 32M --capacity 16M "$heap"
expect 2 create --capacity 1P "$heap"
expect 2 create --zone-size 3M "$heap"
for mode in '' 0 8 99 7777 1777 01777 0x1f -1 rw 00600 0600x; do
    expect 2 create --mode "$mode" "$heap"
    warns '^alps: create: --mode '
done
for list in '' ',' '0,' ',0' '0,,1' a 0-a 0- -1 3-0 1024 0-1024 '0 1' 0-1-2 18446744073709551616 \
    0-1023,0; do
    expect 2 create --nodes "$list" "$heap"
    warns '^alps: create: --nodes '
done
expect 2 create --nodes 1000 "$heap" # no machine has it
for count in '' 0 -1 x 1x 4294967296 99999999999999999999 50000; do
    expect 2 create --instances "$count" "$heap"
done
for list in '' x 0 0-3 5-4 -1 1,x 18446744073709551616; do
    expect 2 bulk-free --generation "$list" "$heap"
    expect 2 commit --generation "$list" "$heap"
done
for limit in '' -1 x 1k 1.5; do
    expect 2 walk --limit "$limit" "$heap"
done
for seconds in x 0 -1 0.001 1e3 inf nan 1..2 . 86401 0x1; do
    expect 2 stat "--watch=$seconds" "$heap"
done
[ -e "$heap" ] && complain 'a refused value has left a file'

# ---- create ----

expect 0 create "$heap"
says "^$heap: created: 6[0-9.]+ MiB \([0-9]+ bytes\), zones of "
equals 'default mode' "$(stat -c %a "$heap")" 600
expect 1 create "$heap"
warns "^alps: create: $heap: .*\(.*alps destroy"
expect 0 check "$heap"
rm -f "$heap"
expect 0 create -s 32M -c 128M --zone-size 4M -m 0640 -n 0 -i 100 --json "$heap"
is_json
near size "$(field size)" 33554432
near capacity "$(field capacity)" 134217728
equals 'zone size' "$(field zone_size)" 4194304
equals mode "$(stat -c %a "$heap")" 640
expect 1 create "$dir/missing/heap"
expect 1 create "$dir"
ln -s "$dir/nowhere" "$dir/link"
expect 1 create "$dir/link"
[ -e "$dir/nowhere" ] && complain 'create has followed a symbolic link'

# ---- reports of an empty heap ----

for command in info stat check walk roots recover trim; do
    expect 0 "$command" "$heap"
    [ -s "$dir/out" ] || [ "$command" = roots ] || complain "$command: says nothing"
    expect 0 "$command" --json "$heap"
    is_json
done
expect 0 check "$heap"
says ': clean$'
expect 0 info "$heap"
says '^  capacity +1[0-9.]+ MiB \([0-9]+ bytes\)$'
says '^  zones +[0-9]+ of 4 MiB$'
says '^  instances +0 alive, 0 dead$'

# ---- blocks, roots, generations ----

fresh
fills -n 10 -s 64 -r 'odd "name"' -d inside "$heap"
first=$generation
fills -n 3 -s 1000000 "$heap"
second=$generation
fills -n 2 -s 4096 -p -r $'bad\xff\x01\\' "$heap"
equals 'generation of permanent blocks' "$generation" 0

expect 0 stat "$heap"
says '^  blocks +15, 2 permanent$'
expect 0 stat --json "$heap"
is_json
equals live_blocks "$(field live_blocks)" 15
equals permanent_blocks "$(field permanent_blocks)" 2
equals roots "$(field roots)" 3
bytes=$(field live_bytes)

expect 0 info "$heap"
says "^ +$first  no    no$"
says "^ +$second  no    no$"
expect 0 info --json "$heap"
is_json
says "\{\"generation\":$first,\"open\":false,\"committed\":false\}"

expect 0 walk "$heap"
equals 'lines of blocks' "$(grep -c '^ *0x' "$dir/out")" 15
says "^ +$first +10  "
says "^ +$second +3  "
says '^ +permanent +2  '
says "^ +total +15  .*\($bytes bytes\)$"
expect 0 walk --json "$heap"
is_json
equals 'objects of blocks' "$(grep -c '"type":"block"' "$dir/out")" 15
says "\"type\":\"generation\",\"generation\":$second,\"blocks\":3,"
says "\"type\":\"total\",\"blocks\":15,\"bytes\":$bytes,\"listed\":15"
offsets=$(sed -n 's/.*"offset":\([0-9]*\).*/\1/p' "$dir/out")
equals 'order of offsets' "$offsets" "$(sort -nu <<<"$offsets")"
expect 0 walk --generation "$first" "$heap"
equals 'blocks of a generation' "$(grep -c '^ *0x' "$dir/out")" 10
expect 0 walk --generation "0,$second" "$heap"
equals 'blocks of two generations' "$(grep -c '^ *0x' "$dir/out")" 5
expect 0 walk -g 777 --json "$heap"
is_json
says '"type":"total","blocks":0'
expect 0 walk --min-size 500k "$heap"
equals 'large blocks' "$(grep -c '^ *0x' "$dir/out")" 3
expect 0 walk --limit 4 "$heap"
equals 'limited blocks' "$(grep -c '^ *0x' "$dir/out")" 4
says '^4 of 15 blocks listed$'
says '^ +total +15 '
expect 0 walk --limit 0 --json "$heap"
is_json
equals 'no blocks' "$(grep -c '"type":"block"' "$dir/out")" 0

expect 0 roots "$heap"
says '^ +0x[0-9a-f]+ +[0-9]+  odd "name"$'
says ' no block  inside$'
says 'bad.*\\x01\\x5c$'
expect 0 roots --json "$heap"
is_json
says '"name":"odd \\"name\\""'
says '"name":"inside","offset":[0-9]+,"size":null'
says '"name":"bad\\ufffd\\u0001\\\\"'

expect 0 nodes "$heap"
says '^ +any +[0-9]+ +[0-9]+ '
expect 0 nodes --json "$heap"
is_json
says '"nodes":\[\{"node":null,"zones":[0-9]+,.*"misplaced":0\}\],"misplaced":0'
expect 0 info "$heap"
says '^  durable      no$'
expect 0 create --size 32M --durable "$dir/durable"
expect 0 info --json "$dir/durable"
says '"durable":true'
expect 0 destroy --yes "$dir/durable"
head -c 33554432 /dev/urandom >"$dir/there"
expect 1 create "$dir/there"
expect 0 create --in-place --shared "$dir/there"
expect 0 info --json "$dir/there"
says '"in_place":true,"shared":true'
expect 1 create --in-place "$dir/there"
warns 'holds a heap already'
expect 0 destroy --yes "$dir/there"
[ "$(stat -c %s "$dir/there")" = 33554432 ] || complain 'destroy has changed the length of a file'
expect 1 info "$dir/there"
rm "$dir/there"
expect 0 create --size 32M --nodes 0 "$dir/placed"
expect 0 nodes "$dir/placed"
says '^ +0 +[0-9]+ +[0-9]+ '
expect 0 destroy --yes "$dir/placed"

expect 0 check "$heap"
expect 2 bulk-free --generation 0 "$heap"
warns 'permanent'
expect 1 bulk-free --generation 777 "$heap"
warns '777'
warns 'alps info'
expect 1 commit --generation 777 "$heap"
expect 0 commit --generation "$first" --json "$heap"
is_json
equals committed "$(field blocks)" 10
expect 0 commit --generation "$first" "$heap"
expect 0 stat --json "$heap"
equals 'permanent after commit' "$(field permanent_blocks)" 12
expect 0 bulk-free --generation "$second" "$heap"
says ": generation $second freed: 3 blocks, .* bytes\)$"
expect 0 stat --json "$heap"
equals 'blocks after bulk-free' "$(field live_blocks)" 12
fills -n 5 "$heap"
third=$generation
expect 1 bulk-free --json --generation "777,$third" "$heap" # does what it can
is_json
equals freed "$(field blocks)" 5

# All that is closed: what came to its end, and what was killed; not what is permanent.
fills -n 5 "$heap"
fills -n 6 -k "$heap"
expect 0 bulk-free --closed "$heap"
equals 'generations freed' "$(lines ' freed: [56] blocks' "$dir/out")" 2
expect 0 bulk-free --closed "$heap"
[ ! -s "$dir/out" ] || complain "a closed generation is left"
expect 0 stat --json "$heap"
equals 'blocks that are permanent' "$(field live_blocks)" 12
expect 0 check "$heap"

# ---- crash and recovery ----

fills -n 7 -k "$heap"
dead=$generation
expect 0 stat --json "$heap"
equals 'dead instances' "$(field dead_instances)" 1
expect 0 info "$heap"
says '^  instances +0 alive, 1 dead \(`alps recover`'
says "^ +[0-9]+ +$dead +[0-9]+  dead$"
expect 0 check "$heap"
expect 0 recover --json "$heap"
is_json
says "\"recovered\":1,\"generations\":\[$dead\],\"alive\":0,\"still_dead\":0"
expect 0 recover "$heap"
says ': 0 dead instances recovered, 0 alive, 0 still dead$'
expect 0 stat --json "$heap"
equals 'dead instances' "$(field dead_instances)" 0
equals 'blocks of the dead' "$(field live_blocks)" 19
fills -n 1 -k -p "$heap"
expect 0 recover "$heap"
says ': 1 dead instance recovered'
expect 0 bulk-free -g "$dead" "$heap"
says ": generation $dead freed: 7 blocks, "
expect 0 check "$heap"

# ---- busy ----

mkfifo "$dir/hold"
"$fill" -w -n 4 "$heap" <"$dir/hold" >"$dir/held" &
holder=$!
exec 9>"$dir/hold"
for _ in {1..100}; do
    [ -s "$dir/held" ] && break
    sleep 0.05
done
held=$(cat "$dir/held")
expect 0 info --json "$heap"
is_json
says "\"generation\":$held,\"pid\":[0-9]+,\"alive\":true,\"remote\":false"
expect 0 info "$heap"
says "^ +[0-9]+ +$held +[0-9]+  alive$"
expect 0 recover "$heap"
says ': 0 dead instances recovered, 1 alive, 0 still dead$'
expect 4 bulk-free -g "$held" "$heap"
warns 'a live instance'
expect 0 bulk-free --closed "$heap"
[ "$(lines "generation $held " "$dir/out")" -eq 0 ] || complain 'an open generation was freed'
expect 4 commit -g "$held" "$heap"
expect 4 declare-dead --yes -g "$held" "$heap"
warns 'is alive; kill it instead'
expect 2 declare-dead -g "$held" "$heap" </dev/null
warns 'confirm that with --yes'
expect 4 format --yes "$heap"
expect 4 destroy --yes "$heap"
[ -e "$heap" ] || complain 'destroy has removed a busy heap'
for command in $readers recover trim; do
    expect 0 "$command" "$heap"
done
exec 9>&-
wait "$holder" || complain 'fill has failed'
holder=
expect 0 bulk-free -g "$held" "$heap"

# ---- a process of another host dies ----

ALPS_HOST_ID='another host' fills -n 3 -k "$heap"
held=$generation
expect 0 recover "$heap"
says ': 0 dead instances recovered, 1 alive, 0 still dead$'
expect 0 info "$heap"
says "^ +[0-9]+ +$held +[0-9]+  alive, on host $(hostname), silent for [0-9]+ s$"
expect 0 info --json "$heap"
is_json
says "\"generation\":$held,\"pid\":[0-9]+,\"alive\":true,\"remote\":true,\"silent_seconds\":[0-9]+"
expect 0 declare-dead --yes -g "$held" "$heap"
says 'declared dead'
expect 0 recover "$heap"
says ': 1 dead instance recovered, 0 alive, 0 still dead$'
expect 0 bulk-free -g "$held" "$heap"

ALPS_HOST_ID='another host' fills -n 3 -k "$heap"
held=$generation
expect 0 info --json "$heap"
says '"host":"[0-9a-f]{16}","boot":"[0-9a-f]{16}","host_name":"'
host=$(sed 's/.*"remote":true[^}]*"host":"\([0-9a-f]*\)".*/\1/' "$dir/out")
expect 2 declare-dead --yes "$heap"
warns 'either --generation or --host'
expect 2 declare-dead --yes -g 5 --host "$host" "$heap"
expect 2 declare-dead --yes --host nobody "$heap"
warns 'no process of host nobody has it open'
expect 2 declare-dead --host "$host" "$heap"
warns 'confirm that with --yes'
expect 0 declare-dead --yes --host "$host" "$heap"
says ": host $host declared dead with 1 process; "
expect 0 recover "$heap"
says ': 1 dead instance recovered, 0 alive, 0 still dead$'
expect 0 bulk-free -g "$held" "$heap"

# ---- grow, trim ----

expect 0 grow --size 128M --json "$heap"
is_json
near 'size after grow' "$(field after)" 134217728
grown=$(field after)
expect 0 grow --size 16M "$heap"
says ": size: .*\($grown bytes\) before, .*\($grown bytes\) now$"
expect 1 grow --size 1G "$heap"
warns "^alps: grow: $heap: "
expect 2 grow --size 0 "$heap"
fills -n 1 -s 30000000 "$heap"
expect 0 bulk-free -g "$generation" "$heap"
expect 0 trim --json "$heap"
is_json
expect 0 trim "$heap"
says ': held by the files: .* before, .* now$'
expect 0 check "$heap"

# ---- stat --watch ----

# In the foreground: a second signal, to the group, may hit what a sanitizer runs at the end.
checks=$((checks + 1))
timeout --foreground --preserve-status -k 30 -s INT 1 "$tool" stat --watch 0.2 "$heap" >"$dir/out" 2>"$dir/err" ||
    complain 'an interrupted watch fails'
[ "$(wc -l <"$dir/out")" -ge 3 ] || complain 'watch appends too few lines'
says '^time +live_bytes '
says '^[0-9:]{8} +[0-9]+ '
timeout --foreground --preserve-status -k 30 -s TERM 0.7 "$tool" stat --json "$heap" -w0.1 >"$dir/out" 2>"$dir/err" ||
    complain 'a terminated watch fails'
[ "$(wc -l <"$dir/out")" -ge 2 ] || complain 'watch appends too few objects'
is_json
timeout 10 "$tool" stat --watch=60 "$heap" 2>"$dir/err" | head -1 >"$dir/out"
equals 'exit code of a watch whose reader leaves' "${PIPESTATUS[0]}" 0
[ -s "$dir/err" ] && complain 'a watch whose reader leaves says something'

# ---- standard output that breaks ----

fills -n 5000 "$heap"
checks=$((checks + 4))
if [ -e /dev/full ]; then
    for arguments in "info $heap" "stat $heap" "walk $heap" "walk --json $heap" '--help' \
        "check $heap" "recover $heap" "stat --watch $heap"; do
        # shellcheck disable=SC2086
        timeout 10 "$tool" $arguments >/dev/full 2>"$dir/err"
        equals "exit code on a full disk: $arguments" $? 1
        warns 'No space left'
    done
fi
timeout 10 "$tool" walk "$heap" 2>"$dir/err" | head -1 >"$dir/out"
equals 'exit code when the reader leaves' "${PIPESTATUS[0]}" 1
[ -s "$dir/err" ] && complain 'a walk whose reader leaves says something'
"$tool" walk "$heap" >&- 2>"$dir/err"
equals 'exit code with stdout closed' $? 1
"$tool" recover "$heap" <&- >"$dir/out" 2>&-
equals 'exit code with stdin and stderr closed' $? 0
expect 0 check "$heap" # no report was written into the heap
expect 0 bulk-free -g "$generation" "$heap"

# ---- several files ----

parts=("$dir/part0" "$dir/part1" "$dir/part2")
expect 0 create --size 96M --capacity 192M --json "${parts[@]}"
is_json
fills -n 20 -s 100000 -r top "${parts[@]}"
for command in info stat check walk roots recover trim; do
    expect 0 "$command" --json "${parts[@]}"
    is_json
done
expect 0 info "${parts[@]}"
says '^  files +3$'
says "^ +2  ${parts[2]}$"
expect 2 info "${parts[0]}"
expect 2 info "${parts[1]}"
expect 2 info "${parts[0]}" "${parts[2]}" "${parts[1]}"
expect 0 bulk-free -g "$generation" "${parts[@]}"
expect 2 format --yes "${parts[1]}"
expect 0 format --yes "${parts[0]}"
expect 0 roots --json "${parts[@]}"
says '"roots":\[\]'
expect 0 destroy --yes --json "${parts[0]}"
is_json
[ -e "${parts[0]}" ] || [ -e "${parts[1]}" ] || [ -e "${parts[2]}" ] &&
    complain 'destroy has left files'

# ---- files that are no heap, or damaged ----

echo 'not a heap' >"$dir/text"
head -c 1M /dev/zero >"$dir/zeros"
: >"$dir/empty"
for command in $readers $writers format destroy; do
    # shellcheck disable=SC2046
    for file in "$dir/text" "$dir/zeros" "$dir/empty"; do
        expect 1 "$command" $(needs "$command") "$file"
        warns "^alps: $command: $file: "
        [ -e "$file" ] || complain "$command has removed a foreign file"
    done
    # shellcheck disable=SC2046
    expect 1 "$command" $(needs "$command") "$dir/none"
    warns "^alps: $command: $dir/none: "
    # shellcheck disable=SC2046
    expect 1 "$command" $(needs "$command") "$dir"
    # shellcheck disable=SC2046
    expect 2 "$command" $(needs "$command") ''
done
equals 'a foreign file' "$(cat "$dir/text")" 'not a heap'

fresh
fills -n 100 "$heap"
cp --sparse=always "$heap" "$dir/truncated"
truncate -s 200K "$dir/truncated"
cp --sparse=always "$heap" "$dir/scribbled"
head -c 100 /dev/urandom | dd of="$dir/scribbled" bs=1 seek=24 conv=notrunc status=none
for file in "$dir/truncated" "$dir/scribbled"; do
    for command in $readers $writers; do
        # shellcheck disable=SC2046
        expect 3 "$command" $(needs "$command") "$file"
    done
    expect 3 info "$file"
    warns "^alps: info: $file: .*\(.*alps format"
    expect 3 check --json "$file"
    is_json
    says '"clean":false,"problems":1,"first":"'
done
# A part of the table of generations, which follows the first page, is overwritten.
cp --sparse=always "$heap" "$dir/damaged"
printf '\377%.0s' {1..32} | dd of="$dir/damaged" bs=4K seek=2 conv=notrunc status=none
expect 3 check "$dir/damaged"
says "^$dir/damaged: damaged: [0-9]+ problems?, first: "
expect 3 check --json "$dir/damaged"
is_json
says '"clean":false,"problems":[1-9]'
expect 0 check "$heap"

# ---- format, destroy, and the confirmation ----

expect 2 format "$heap"
warns '--yes'
expect 2 destroy "$heap"
warns '--yes'
if command -v script >/dev/null; then
    # on_terminal ANSWER COMMAND: the tool on a terminal where somebody types the answer.
    on_terminal() {
        checks=$((checks + 1))
        : >"$dir/err"
        printf '%s\n' "$1" | timeout 20 script -qec "'$tool' $2 '$heap'" /dev/null >"$dir/out"
    }
    on_terminal n format
    equals 'exit code of a refused format' $? 1
    says 'Go on\? \[y/N\]'
    says 'nothing was changed'
    on_terminal '' destroy
    equals 'exit code of a refused destroy' $? 1
    expect 0 stat --json "$heap"
    equals 'blocks' "$(field live_blocks)" 100
    on_terminal y format
    equals 'exit code of a confirmed format' $? 0
    says ': formatted'
    expect 0 stat --json "$heap"
    equals 'blocks after format' "$(field live_blocks)" 0
    on_terminal yes destroy
    equals 'exit code of a confirmed destroy' $? 0
    [ -e "$heap" ] && complain 'destroy has left the heap'
else
    echo 'script(1) is missing: the confirmation on a terminal is not tested'
fi
fresh
fills -n 10 -r root "$heap"
expect 0 format --yes "$heap"
says ': formatted$'
expect 0 stat --json "$heap"
equals 'blocks after format' "$(field live_blocks)" 0
equals 'roots after format' "$(field roots)" 0
expect 0 check "$heap"
expect 0 format -y --json "$heap"
is_json
expect 0 destroy --yes "$heap"
says ': destroyed$'
[ -e "$heap" ] && complain 'destroy has left the heap'
expect 1 destroy --yes "$heap"

# ---- names that want quoting ----

odd="$dir/a \"b\"\\"$'\n\xff'
expect 0 create --json "$odd"
is_json
expect 0 check "$odd"
equals 'lines of a report' "$(wc -l <"$dir/out")" 1
expect 0 info -j -- "$odd"
is_json
expect 0 destroy --yes "$odd"

verdict
