# What the emulator produced against what was asked of it, from the CSV of emu-validate.
#
#     gnuplot -c plots/validate.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg: latency, bandwidth, and latency beside a load.
program = "emu-validate"
record = "validation"
width = 1500
height = 560
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

set key top left reverse Left

# What there is of a test, by names with _ for blanks: "latency random 64_MiB" is a series.
rows_of(test, name) = series("validation", "test", test) . " | awk -F, -v series='" . name . \
    "' '{ text = $3; gsub(\" \", \"_\", text) } NR == 1 || text == series { print }'"
names_of(test) = system(series("validation", "test", test)[3 : *] . \
    " | awk -F, 'NR > 1 && !seen[$3]++ { gsub(\" \", \"_\", $3); print $3 }'")
latencies = names_of("latency")
bandwidths = names_of("bandwidth")
loads = names_of("loaded")
if (words(latencies . " " . bandwidths . " " . loads) == 0) exit error results . ": holds no results"

curves(test, list, x) = sprintf("plot for [i = 1 : words(%s)] rows_of('%s', word(%s, i)) \
    using '%s':'got' with points pointtype point(i) pointsize 1.4 linewidth 2 \
    linecolor rgb colour(i) title spaced(word(%s, i)), ", list, test, list, x, list)
as_asked = "x with lines linecolor rgb '#999999' title 'as asked'"

# A curve is drawn if there is one.
draw_latency = curves("latency", "latencies", "asked") . as_asked
draw_bandwidth = curves("bandwidth", "bandwidths", "asked") . as_asked
draw_loaded = curves("loaded", "loads", "parameter") . "rows_of('loaded', word(loads, 1)) \
    using 'parameter':'asked' with lines linecolor rgb '#999999' title 'as asked'"

draw = "set multiplot layout 1, 3 title head noenhanced; \
    set title 'dependent reads'; set xlabel 'ns asked'; set ylabel 'ns'; set logscale xy; \
    set format '%g'; if (words(latencies) > 0) { eval draw_latency }; \
    unset logscale; set xrange [0 : *]; set yrange [0 : *]; set title 'a link'; \
    set xlabel 'GB/s asked'; set ylabel 'GB/s'; if (words(bandwidths) > 0) { eval draw_bandwidth }; \
    set title 'reads beside a load'; set xlabel '% of the bandwidth'; set ylabel 'ns'; \
    set xrange [0 : 100]; set yrange [0 : *]; if (words(loads) > 0) { eval draw_loaded }; \
    unset multiplot; unset xrange; unset yrange"
head = sprintf("emu-validate: produced over asked; %s, base %s ns, medians of %s rounds", \
    about("cpu_model"), about("base_ns"), about("rounds"))
eval show_picture
