# Throughput over the number of ranks, from the CSV of alps-mpi-stress: for each workload the median
# of the repetitions, with bars from the least to the most of them.
#
#     gnuplot -c plots/throughput.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-mpi-stress"
record = "summary"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

cores = int(about("cores"))
workloads = values_of("summary", "workload")
stats section("summary") using "ranks":"mops_max" nooutput
first = STATS_min_x
last = STATS_max_x
most = STATS_max_y

set title sprintf("Allocation and free by ranks on one heap\n%s", machine) noenhanced
set xlabel "ranks"
set ylabel "million operations a second, all ranks"
set logscale x 2
set xrange [first / sqrt(2) : last * sqrt(2)]
set yrange [0 : most * 1.15]
set key outside right top reverse Left
if (!simulated && cores > first && cores < last) \
    set arrow from cores, graph 0 to cores, graph 1 nohead linecolor rgb "#777777" ; \
    set label "more ranks than cores" at cores, graph 0.97 offset 1, 0 textcolor rgb "#777777"

draw = "plot for [i = 1 : words(workloads)] series('summary', 'workload', word(workloads, i)) \
    using 'ranks':'mops_per_s':'mops_min':'mops_max':xtic(stringcolumn('ranks')) \
    with yerrorlines linewidth 2 pointsize 1.2 pointtype point(i) linecolor rgb colour(i) \
    title word(workloads, i)"
eval show_picture
