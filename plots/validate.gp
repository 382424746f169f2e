# What the emulator produced against what was asked of it, from the CSV of emu-validate.
#
#     gnuplot -c plots/validate.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg: latency, bandwidth, and latency beside a load.
if (ARGC != 2) exit error "usage: gnuplot -c validate.gp RESULTS.csv PICTURE"
results = ARG1
picture = ARG2

# The output of a shell command on the file, which may have any name.
escaped(name) = strstrt(name, "'") == 0 ? name : \
    name[1 : strstrt(name, "'") - 1] . "'\\''" . escaped(name[strstrt(name, "'") + 1 : *])
of_file(command) = system(command . " -- '" . escaped(results) . "'")
about(key) = of_file("sed -n 's/^# " . key . ": //p'")

if (of_file("head -c 0 2>&1") ne "") \
    exit error results . ": no such file, or not readable"
if (of_file("grep -c '^test,series,unit,parameter,asked,got,'") ne "1") \
    exit error results . ": not the CSV of one run of emu-validate"
if (of_file("grep -cE '^(latency|bandwidth|loaded),'") eq "0") \
    exit error results . ": holds no results"

set datafile separator comma
set grid linetype 1 linecolor rgb "#dddddd"
set border 3
set xtics out nomirror
set ytics out nomirror
set key top left reverse Left
array colours[4] = ["#1b5e9b", "#c2571a", "#2f7d32", "#7b3f98"]
colour(i) = colours[1 + (i - 1) % 4]

# The series of a test, with _ for blanks.
series(test) = of_file("sed -n 's/^" . test . ",\\([^,]*\\),.*/\\1/p'") eq "" ? "" : \
    system("sed -n 's/^" . test . ",\\([^,]*\\),.*/\\1/p' -- '" . escaped(results) . \
        "' | tr ' ' '_' | awk '!seen[$0]++'")
spaced(name) = strstrt(name, "_") == 0 ? name : \
    name[1 : strstrt(name, "_") - 1] . " " . spaced(name[strstrt(name, "_") + 1 : *])
latencies = series("latency")
bandwidths = series("bandwidth")
loads = series("loaded")
is(test, name) = stringcolumn("test") eq test && stringcolumn("series") eq spaced(name)

# A curve is drawn if there is one.
draw_latency = "plot for [i = 1 : words(latencies)] results \
    using (is('latency', word(latencies, i)) ? column('asked') : NaN):'got' \
    with points pointtype 4 + 2 * i pointsize 1.4 linewidth 2 linecolor rgb colour(i) \
    title spaced(word(latencies, i)), x with lines linecolor rgb '#999999' title 'as asked'"
draw_bandwidth = "plot for [i = 1 : words(bandwidths)] results \
    using (is('bandwidth', word(bandwidths, i)) ? column('asked') : NaN):'got' \
    with points pointtype 4 + 2 * i pointsize 1.4 linewidth 2 linecolor rgb colour(i) \
    title spaced(word(bandwidths, i)), x with lines linecolor rgb '#999999' title 'as asked'"
draw_loaded = "plot for [i = 1 : words(loads)] results \
    using (is('loaded', word(loads, i)) ? column('parameter') : NaN):'got' \
    with points pointtype 4 + 2 * i pointsize 1.4 linewidth 2 linecolor rgb colour(i) \
    title spaced(word(loads, i)), results \
    using (is('loaded', word(loads, 1)) ? column('parameter') : NaN):'asked' \
    with lines linecolor rgb '#999999' title 'as asked'"

picture_of = "set multiplot layout 1, 3 title head noenhanced; \
    set title 'dependent reads'; set xlabel 'ns asked'; set ylabel 'ns'; set logscale xy; \
    set format '%g'; if (words(latencies) > 0) { @draw_latency }; \
    unset logscale; set xrange [0 : *]; set yrange [0 : *]; set title 'a link'; set xlabel 'GB/s asked'; set ylabel 'GB/s'; \
    if (words(bandwidths) > 0) { @draw_bandwidth }; \
    set title 'reads beside a load'; set xlabel '% of the bandwidth'; set ylabel 'ns'; \
    set xrange [0 : 100]; set yrange [0 : *]; if (words(loads) > 0) { @draw_loaded }; \
    unset multiplot; unset xrange; unset yrange"
head = sprintf("emu-validate: produced over asked; %s, base %s ns, medians of %s rounds", \
    about("cpu_model"), about("base_ns"), about("rounds"))

set terminal pngcairo size 1500, 560 font "sans,12" background rgb "white"
set output picture . ".png"
eval picture_of
set terminal svg size 1500, 560 font "sans,14" background rgb "white"
set output picture . ".svg"
eval picture_of
set output
