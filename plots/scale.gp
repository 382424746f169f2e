# What an operation takes over the number of nodes that share the heap, a curve for each phase, from
# the CSV of alps-bench-scale.
#
#     gnuplot -c plots/scale.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-bench-scale"
record = "phase"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

phases = values_of("phase", "phase")

stats section("phase") using "nodes" nooutput

set title sprintf("Nodes that share a heap\nsimulated: %s, alps %s", about("emulation"), \
    about("version")) noenhanced
set xlabel "nodes"
set ylabel "ns an operation"
set logscale x 2
set xrange [STATS_min / sqrt(2) : STATS_max * sqrt(2)]
set logscale y
set format y "10^{%L}"
set key outside right top reverse Left

draw = "plot for [i = 1 : words(phases)] series('phase', 'phase', word(phases, i)) \
    using 'nodes':'ns_per_op':xtic(stringcolumn('nodes')) with linespoints linewidth 2 \
    pointsize 1.2 pointtype point(i + (i - 1) / 9) linecolor rgb colour(i) title word(phases, i)"
eval show_picture
