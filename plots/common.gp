# What the scripts share: the file of results, checks with messages, styles. Before it loads this
# one, a script sets program and record, what its file must be of and hold, and copies its arguments,
# since loading changes them. If it sets value, records without a value in that column do not count.
if (arguments != 2) exit error "usage: gnuplot -c " . system("basename -- '" . script . "'") . \
    " RESULTS.csv PICTURE"

# The file may have any name.
escaped(text) = strstrt(text, "'") == 0 ? text : \
    text[1 : strstrt(text, "'") - 1] . "'\\''" . escaped(text[strstrt(text, "'") + 1 : *])
of_file(command) = system(command . " -- '" . escaped(results) . "'")
about(key) = of_file("sed -n 's/^# " . key . ": //p'")

# The records of one kind, under their header: a source of data. Records of that kind with other
# columns than the first ones are left out.
if (!exists("value")) value = ""
rows(kind) = "awk -v kind=" . kind . " -v value=" . value . " -F, '$1 == \"record\" { header = $0 } \
    $1 == kind { if (!first) { first = header; print header; split(header, names); \
    for (i in names) if (names[i] == value) at = i } \
    if (header == first && (!at || $at != \"\")) print }' '" . escaped(results) . "'"
section(kind) = "< " . rows(kind)

# Of these, the rows with a value in a column; blanks in it may be _.
column_at = "NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i }"
series(kind, column, value) = section(kind) . " | awk -v name=" . column . " -v value='" . value . \
    "' -F, '" . column_at . " { text = $at; gsub(\" \", \"_\", text) } \
    NR == 1 || text == value { print }'"

# The different values of a column, in the order of the file, with _ for blanks.
values_of(kind, column) = system(rows(kind) . " | awk -v name=" . column . " -F, '" . column_at . \
    " NR > 1 && !seen[$at]++ { gsub(\" \", \"_\", $at); print $at }'")
spaced(text) = strstrt(text, "_") == 0 ? text : \
    text[1 : strstrt(text, "_") - 1] . " " . spaced(text[strstrt(text, "_") + 1 : *])
largest(numbers) = system("echo '" . numbers . "' | tr ' ' '\n' | sort -g | tail -n 1")

if (of_file("head -c 0 2>&1") ne "") \
    exit error results . ": no such file, or not readable"
if (about("program") ne program) \
    exit error results . ": not the CSV of one run of " . program
if (system(rows(record) . " | wc -l") < 2) \
    exit error results . ": holds no results"

emulated = about("emulation") eq "off" ? "" : about("emulation")
simulated = substr(emulated, 1, 7) eq "virtual"
# The second line of each title.
machine = sprintf("%s, %s cores, alps %s%s", about("cpu_model"), about("cores"), \
    about("version"), emulated eq "" ? "" : simulated ? ", simulated: " . emulated : ", emulated: " . emulated)

# In black and white, curves are told by their points and by how dark they are.
array colours[10] = ["#123f6b", "#d2691e", "#2f9e44", "#8e44ad", "#808080", "#c0392b", "#0e9aa7", \
    "#b8860b", "#d6569e", "#4d4d00"]
array points[10] = [7, 4, 9, 12, 6, 2, 5, 8, 13, 10]
colour(i) = colours[1 + (i - 1) % |colours|]
point(i) = points[1 + (i - 1) % |points|]

set datafile separator comma
set datafile missing ""
set xtics out nomirror
set ytics out nomirror
set grid linetype 1 linecolor rgb "#dddddd"
set border 3

# Draws the picture that the string draw makes, as PNG and as SVG; width and height may be set.
if (!exists("width")) width = 900
if (!exists("height")) height = 600
show_picture = "set terminal pngcairo size width, height font 'sans,12' background rgb 'white'; \
    set output picture . '.png'; eval draw; \
    set terminal svg size width, height font 'sans,14' background rgb 'white'; \
    set output picture . '.svg'; eval draw; set output"
