#!/usr/bin/env bash
# test_programs.sh NAME: a real program does the same with libalps-malloc.so (LIBRARY) as without:
# on a private heap, then on one in a file. SOURCE is the project's directory.
. "$(dirname "$0")/../support/program.sh"
name=$1

skip() {
    echo "skipped preload.program.$name: $1"
    exit 77
}
needs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
}

# plain COMMAND..., private COMMAND..., in_file COMMAND...: without the library, and with it.
plain() {
    "$@"
}
private() {
    LD_PRELOAD=$LIBRARY "$@"
}
in_file() {
    LD_PRELOAD=$LIBRARY ALPS_MALLOC_HEAP=$dir/heap ALPS_MALLOC_SIZE=8G "$@"
}
ways=(private in_file)

# same WORK: WORK WAY prints the same whatever the way, and nothing on stderr.
same() {
    local way
    for way in plain "${ways[@]}"; do
        mkdir -p "$dir/$way"
        (cd "$dir/$way" && "$1" "$way") >"$dir/out" 2>"$dir/err" </dev/null
        equals "status of $1 $way" $? 0
        [ "$way" != plain ] || cp "$dir/out" "$dir/plain.out"
        equals "messages of $1 $way" "$(wc -c <"$dir/err")" 0
        equals "output of $1 $way" "$(cksum <"$dir/out")" "$(cksum <"$dir/plain.out")"
    done
    [ -s "$dir/plain.out" ] || complain "$1 prints nothing"
}

# ---- a build by gcc ----

compile() {
    local file
    for file in extent slab cache layout heap_check; do
        "$1" gcc -O2 -g "-fdebug-prefix-map=$PWD=." -fPIC -D_GNU_SOURCE -DALPS_NO_INLINE -I"$SOURCE/alps/include" -c \
            "$SOURCE/alps/src/$file.c" -o $file.o || return 1
    done
    "$1" gcc -shared -o all.so ./*.o || return 1
    "$1" ar rc all.a ./*.o || return 1
    cksum ./*.o all.so
}
program_gcc() {
    needs gcc ar
    same compile
}

# ---- python3's tests of json and re; processes that fork without exec ----

work_in_processes() {
    "$1" python3 - <<'PYTHON'
import multiprocessing

table = {i: str(i) * (i % 50) for i in range(50000)}

def look(start):
    for i in range(start, 50000, 4):
        assert table[i] == str(i) * (i % 50)
        table[i] = [start] * 10
    return start, sum(len(x) for x in table.values())

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    with multiprocessing.Pool(4) as pool:
        results = pool.map_async(look, range(4))
        for i in range(50000):
            table[i] = None
        results = results.get(100)
    assert sorted(start for start, _ in results) == [0, 1, 2, 3]
    print("good")
PYTHON
}
program_python() {
    local way
    needs python3
    python3 -c 'import test.test_json, test.test_re' 2>/dev/null ||
        skip "python3 comes without the tests of its library"
    for way in "${ways[@]}"; do
        run 0 "$way" python3 -m test test_json test_re
        says '^All 2 tests OK'
    done
    same work_in_processes
}

# ---- sqlite3 ----

query() {
    "$1" sqlite3 base <<'SQL'
create table t (id integer primary key, name text, number real);
insert into t with recursive c(i) as (select 1 union all select i + 1 from c where i < 50000)
    select i, printf('name %d %s', i * 7919 % 50000, hex(zeroblob(i % 40))), i * 1.5 from c;
create index names on t (name);
select count(*), sum(length(name)), avg(number) from t;
select substr(name, 1, 6) as s, count(*), max(number) from t group by s order by 2 desc, 1 limit 20;
update t set name = name || '!' where id % 3 = 0;
delete from t where id % 7 = 0;
select a.id, b.id from t a join t b on b.name = a.name || '!' order by 1 limit 20;
select group_concat(name, ',') from (select name from t order by name desc limit 2000);
vacuum;
pragma integrity_check;
SQL
    cksum base
}
program_sqlite() {
    needs sqlite3
    same query
}

# ---- git ----

keep() {
    local git=("$1" git -c user.name=N -c user.email=m@x -c core.fsync=none -c gc.auto=0)
    export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
    export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD
    "${git[@]}" init -q -b main repository || return 1
    cd repository || return 1
    local i k
    for i in 1 2 3; do
        for k in {1..150}; do
            seq "$k" $((k * i * 3)) >"file$k"
        done
        "${git[@]}" add . && "${git[@]}" commit -q -m "commit $i" || return 1
    done
    "${git[@]}" checkout -q -b side HEAD~1 && echo side >side && "${git[@]}" add side &&
        "${git[@]}" commit -q -m side && "${git[@]}" checkout -q main &&
        "${git[@]}" merge -q -m merge side || return 1
    "${git[@]}" gc -q && "${git[@]}" fsck --strict --no-progress || return 1
    "${git[@]}" log --stat --format='%H %s' && "${git[@]}" grep -c 77 HEAD~3 | cksum
}
program_git() {
    needs git
    same keep
}

# ---- perl: tables, expressions, processes that fork without exec ----

script() {
    "$1" perl - <<'PERL'
use strict;
my (%words, @lines);
for my $i (1 .. 40000) {
    my $word = sprintf("%x", $i * 2654435761 % 65537);
    push @{$words{$word}}, $i;
    push @lines, "$i:$word" . "." x ($i % 60);
}
my @pipes;
for my $k (0 .. 3) {
    pipe(my $in, my $out) or die;
    my $child = fork() // die;
    if ($child == 0) {
        my $sum = 0;
        for (@lines) { $sum += length if s/^(\d+):(\w+)/$2-$1/ && $1 % 4 == $k; }
        print $out "$k $sum\n";
        close $out;
        exit 0;
    }
    close $out;
    $_ .= "changed by the parent $k" for @lines[0 .. 9999];
    splice @lines, 0, 5000;
    push @pipes, $in;
}
print map { scalar <$_> } @pipes;
wait() for 0 .. 3;
print join(" ", map { "$_=@{$words{$_}}" } sort keys %words), "\n";
print scalar(grep { /7\w*7.*\.{9}$/ } @lines), "\n", `echo a command`;
PERL
}
program_perl() {
    needs perl
    same script
}

# ---- redis: its benchmark, and a snapshot beside writers ----

redis_pid=
clean_up() {
    [ -z "$redis_pid" ] || kill -KILL "$redis_pid" 2>/dev/null
}

# start_redis WAY FILE: a server on the socket, with that file of its data.
start_redis() {
    "$1" "$dir/redis-server" --port 0 --unixsocket "$dir/socket" --dir "$dir" --dbfilename "$2" \
        --save '' --appendonly no >"$dir/redis.log" 2>&1 &
    redis_pid=$!
    for _ in {1..300}; do
        [ "$(client ping 2>/dev/null)" != PONG ] || return 0
        sleep 0.1
    done
    complain "redis does not start: $(tail -3 "$dir/redis.log")"
}
stop_redis() {
    client shutdown nosave >/dev/null 2>&1
    wait "$redis_pid"
    equals "status of redis" $? 0
    redis_pid=
}
client() {
    redis-cli -s "$dir/socket" "$@"
}
# Sets the 2000 keys in one step.
set_all() {
    client eval 'for i = 1, 2000 do
        redis.call("set", "key" .. i, string.rep(ARGV[1], i % 900 + 1))
        redis.call("hset", "hash" .. i % 20, "field" .. i, ARGV[1])
    end' 0 "$1"
}
# How many of the keys are not as set_all has them.
count_others() {
    client eval 'local n = 0
        for i = 1, 2000 do
            if redis.call("get", "key" .. i) ~= string.rep(ARGV[1], i % 900 + 1) then n = n + 1 end
            if redis.call("hget", "hash" .. i % 20, "field" .. i) ~= ARGV[1] then n = n + 1 end
        end
        return n' 0 "$1"
}
program_redis() {
    needs redis-check-rdb redis-cli redis-benchmark
    # The server is the same program, by another name.
    ln -s "$(command -v redis-check-rdb)" "$dir/redis-server"
    local way
    for way in "${ways[@]}"; do
        start_redis "$way" "$way.rdb"
        run 0 "$way" redis-benchmark -s "$dir/socket" -n 5000 -r 1000 -P 8 -d 300 -q \
            -t set,get,incr,lpush,rpop,sadd,hset,spop,zadd,lrange_100,mset
        equals "$way: what the benchmark says of errors" "$(grep -ci error "$dir/out")" 0
        run 0 set_all a
        # The child writes for a second or more, while the parent writes over everything.
        run 0 client config set rdb-key-save-delay 500
        run 0 client bgsave
        run 0 set_all b
        run 0 client config set rdb-key-save-delay 0
        run 0 client info persistence
        says 'rdb_bgsave_in_progress:1'
        run 0 client eval 'for i = 1, 2000 do redis.call("del", "key" .. i) end' 0
        run 0 set_all c
        for _ in {1..300}; do
            client info persistence | grep -q 'rdb_bgsave_in_progress:1' || break
            sleep 0.1
        done
        run 0 client info persistence
        says 'rdb_last_bgsave_status:ok'
        equals "$way: keys that are not the server's" "$(count_others c)" 0
        stop_redis
        start_redis plain "$way.rdb"
        equals "$way: keys in the snapshot that are later ones" "$(count_others a)" 0
        stop_redis
    done
}

"program_$name"

if [ -e "$dir/heap" ]; then
    run 0 "$TOOL" check "$dir/heap"
fi
verdict
