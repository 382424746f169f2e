# What a walk takes an element, over the number of ranks, from the CSV of alps-mpi-relocate: medians of the
# repetitions, with bars from the least to the most of them.
#
#     gnuplot -c plots/relocate.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-mpi-relocate"
record = "summary"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

stats section("summary") using "ranks":"walk_ns_max" nooutput
first = STATS_min_x
last = STATS_max_x

set title sprintf("Lists, trees and graphs walked while ranks move the heap\n%s", machine) noenhanced
set xlabel "ranks"
set ylabel "ns an element"
set logscale x 2
set xrange [first / sqrt(2) : last * sqrt(2)]
set yrange [0 : STATS_max_y * 1.15]
set key off

draw = "plot section('summary') \
    using 'ranks':'walk_ns':'walk_ns_min':'walk_ns_max':xtic(stringcolumn('ranks')) \
    with yerrorlines linewidth 2 pointsize 1.2 pointtype 7 linecolor rgb colour(1)"
eval show_picture
