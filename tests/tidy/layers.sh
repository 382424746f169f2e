#!/usr/bin/env bash
# Who includes whom. In alps/src a file's name begins with its layer, and a layer sees itself and
# those below; the other directories see themselves and what the table below grants them.
. "$(dirname "$0")/common.sh"
cd "$1"

# error lies beside base: every layer may use it.
layers=(base fam region layout instance extent slab cache heap)

# layer_of FILE: sets layer and its rank; fails if there is no such layer.
layer_of() {
    layer=$(basename "$1")
    layer=${layer%%[_.]*}
    rank=0
    [ "$layer" != error ] || return 0
    for rank in "${!layers[@]}"; do
        [ "${layers[rank]}" != "$layer" ] || return 0
    done
    return 1
}

# grants FILE: sets own, the directory its quoted includes lie in; others, patterns of quoted
# includes from elsewhere; public, a pattern of the project's includes in angle brackets.
grants() {
    others='' public='alps/alps.h'
    case $1 in
    alps/include/*.hpp) own=alps/include ;;
    alps/include/*) own=alps/include public='alps/fast.h' ;;
    alps/src/fam*) own=alps/src public='alps/hooks.h' ;;
    alps/src/*) own=alps/src public='@(alps/alps.h|alps/fast.h)' ;;
    alps/malloc/*) own=alps/malloc others='@(heap|size).h' public='alps/@(alps|fast).h' ;;
    alps/tools/*) own=alps/tools ;;
    emu/tools/*) own=emu/tools others='harness/*' public='emu/*' ;;
    emu/*) own=emu public='@(alps/alps.h|alps/hooks.h|emu/*)' ;;
    bench/harness/*) own=bench/harness others='harness/*' public='' ;;
    bench/simulation.*) own=bench others=heap.h public='@(alps/*|emu/*)' ;;
    bench/*) own=bench public='@(alps/alps.h|emu/*)' ;;
    mpi/*) own=mpi others='harness/*' public='@(alps/alps.h|emu/*)' ;;
    doc/examples/*) own=doc/examples public='@(alps/alps.h|alps/alps.hpp)' ;;
    *) own=$(dirname "$1") ;;
    esac
}

# include WHERE FILE BRACKET NAME
include() {
    local where=$1 file=$2 bracket=$3 name=$4
    grants "$file"
    if [ "$bracket" = '<' ]; then
        # shellcheck disable=SC2053 # the right side is a pattern
        if [[ $name == @(alps|emu|harness)/* && $name != $public ]]; then
            problem "$where" "<$name> is not for $own"
        fi
        return
    fi
    # shellcheck disable=SC2053 # the right side is a pattern
    if [[ /$name == */tests/* || /$name/ == */../* ]]; then
        problem "$where" "\"$name\" leaves its directory"
    elif [[ $name != $others && ! -e $(dirname "$file")/$name && ! -e $own/$name ]]; then
        problem "$where" "\"$name\" is not in $own"
    elif [ "$own" = alps/src ] && layer_of "$file"; then
        local from=$layer from_rank=$rank
        if layer_of "$name" && [ "$rank" -gt "$from_rank" ]; then
            problem "$where" "layer $from includes \"$name\" of the layer $layer above"
        fi
    fi
}

shopt -s extglob
list sources '!(tests/*|*/tests/*).@(c|h|inc|hpp|cpp)'

pattern='^([^:]*):([0-9]*):[[:space:]]*#[[:space:]]*include[[:space:]]*([<"])([^>"]*)[>"]'
while read -r line; do
    if [[ $line =~ $pattern ]]; then
        include "${BASH_REMATCH[1]}:${BASH_REMATCH[2]}" "${BASH_REMATCH[1]}" \
            "${BASH_REMATCH[3]}" "${BASH_REMATCH[4]}"
    fi
done < <(grep -HnE '^[[:space:]]*#[[:space:]]*include' "${sources[@]}" || true)

for file in "${sources[@]}"; do
    [[ $file == alps/src/* ]] || continue
    if ! layer_of "$file"; then
        problem "$file" "its name begins with no layer"
    elif [ "$layer" != heap ]; then
        # The public functions are the uppermost layer; alps_fam_ are hooks, alps_fast_ the
        # inline part of the cache.
        problem_at_each "layer $layer calls the layer heap" < <(
            grep -HnoE '^[^*]*\balps_[a-z_]+\(' "$file" | grep -vE 'alps_(fam|fast)_' |
                cut -d: -f1-2)
    fi
done
verdict
