# How long a call takes, by the share of calls that take less, from the CSV of alps-mpi-stress: for
# the largest number of ranks, malloc and free of each workload.
#
#     gnuplot -c plots/latency.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-mpi-stress"
record = "latency"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

workloads = values_of("latency", "workload")
ranks = largest(values_of("latency", "ranks"))

set title sprintf("malloc and free by %s ranks\n%s", ranks, machine) noenhanced
set xlabel "calls that take no longer"
set ylabel "ns"
set logscale xy
set xrange [1 : *]
set xtics ("50 %%" 2, "90 %%" 10, "99 %%" 100, "99.9 %%" 1e3, "99.99 %%" 1e4, \
    "99.999 %%" 1e5, "99.9999 %%" 1e6, "99.99999 %%" 1e7)
set format y "%g"
set key outside right top reverse Left

is(i, call) = stringcolumn("workload") eq word(workloads, i) && \
    stringcolumn("call") eq call && stringcolumn("ranks") eq ranks
draw = "plot for [call in 'malloc free'] for [i = 1 : words(workloads)] section('latency') \
    using (is(i, call) ? 1 / (1 - column('quantile')) : NaN):'ns' \
    with linespoints linewidth 2 pointinterval call eq 'malloc' ? 5 : -5 \
    pointtype point(i) linecolor rgb call eq 'malloc' ? colour(i) : '#60' . colour(i)[2 : *] \
    title word(workloads, i) . ', ' . call"
eval show_picture
