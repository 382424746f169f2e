#!/usr/bin/env bash
# Each function of the libraries, each program and the model has its manual page; a page has all
# options of its program; and formatters have nothing to say against any of them.
. "$(dirname "$0")/installed.sh"

man=$prefix/share/man
text() {
    gzip -dc "$1" 2>/dev/null
}

pages=0
for library in alps emu; do
    while read -r function; do
        checks=$((checks + 1)) pages=$((pages + 1))
        text "$man/man3/$function.3.gz" | grep -q '^\.TH ' || complain "no page $function(3)"
        text "$man/man3/$function.3.gz" | sed -n '/^\.SH NAME/,/^\.SH SYN/p' |
            grep -q "$function" || complain "$function(3) does not name it"
    done < <(nm -D --defined-only "$libdir/lib$library.so" |
        sed -n 's/.* T \([a-z_]*\).*/\1/p' | grep -v '^emu_charge')
done
for function in alps_deref alps_ref emu_read alps.hpp; do
    [ -e "$man/man3/$function.3.gz" ] || complain "no page $function(3)"
done
[ "$pages" -ge 60 ] || complain "only $pages functions were looked at"
for page in alps emu; do
    text "$man/man7/$page.7.gz" | grep -q '^.SH "THE MODEL"' || complain "no page $page(7)"
done

# helps PROGRAM: its help, and those of its commands.
helps() {
    local program=$1 command
    "$program" --help
    [ "$(basename "$program")" = alps ] || return 0
    for command in $("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
        "$program" help "$command"
    done
}
for program in "$prefix"/bin/*; do
    name=$(basename "$program")
    options=$(helps "$program" 2>/dev/null | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--.*' | sort -u)
    checks=$((checks + 1))
    [ -n "$options" ] || complain "$name lists no options"
    page=$(text "$man/man1/$name.1.gz" | sed 's/\\-/-/g')
    for option in $options; do
        checks=$((checks + 1))
        grep -q -- "^\\\\fB.*$option" <<<"$page" || complain "$name(1) lacks $option"
    done
done

mkdir "$dir/pages"
for page in "$man"/man?/*; do
    [ -L "$page" ] || text "$page" >"$dir/pages/$(basename "$page" .gz)"
done
if command -v mandoc >/dev/null; then
    run 0 mandoc -Tlint -Wwarning "$dir"/pages/*
elif command -v groff >/dev/null; then
    for page in "$dir"/pages/*; do
        checks=$((checks + 1))
        groff -man -Tutf8 -ww -z "$page" >"$dir/out" 2>&1
        [ ! -s "$dir/out" ] || complain "$page"
    done
else
    echo "skipped install.manual_is_formatted: neither mandoc nor groff is installed"
fi
verdict
