# What the survivors do around a kill, from the CSV of alps-mpi-crash: median and quartiles over the
# kills of the largest number of ranks.
#
#     gnuplot -c plots/timeline.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-mpi-crash"
record = "timeline"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

ranks = largest(values_of("timeline", "ranks"))
kills = largest(values_of("timeline", "kills"))
stats section("timeline") using "mops_upper" nooutput

set title sprintf("The other processes around %s kills, %s ranks of %s workers\n%s", \
    kills, ranks, about("workers"), machine) noenhanced
set xlabel "ms after the kill"
set ylabel "million blocks allocated, read or freed a second"
set xrange [-10 : 30]
set yrange [0 : STATS_max * 1.15]
set key bottom right
set arrow from 0, graph 0 to 0, graph 1 nohead linewidth 2 linecolor rgb "#c0392b" front
set label "killed" at 0, graph 0.96 offset 1, 0 textcolor rgb "#c0392b" front

draw = "plot series('timeline', 'ranks', ranks) using 'offset_ms':'mops_lower':'mops_upper' \
    with filledcurves fillcolor rgb '#c9d7e6' title 'quartiles', \
    series('timeline', 'ranks', ranks) using 'offset_ms':'mops' \
    with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb colour(1) title 'median'"
eval show_picture
