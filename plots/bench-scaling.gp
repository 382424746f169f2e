# What a malloc and a free take a thread, over the number of threads or processes at work: a panel for
# each workload, a curve for each backend, from a CSV of scripts/bench-scaling.
#
#     gnuplot -c plots/bench-scaling.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "bench-scaling"
record = "scaling"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

workers = about("workers")
workloads = values_of("scaling", "workload")
backends = values_of("scaling", "backend")
curve(workload, backend) = series("scaling", "workload", workload) . \
    " | awk -F, 'NR == 1 || $3 == \"" . backend . "\"'"

columns = 4
panels = words(workloads) + 1 # the last one is the key
lines = (panels + columns - 1) / columns
width = 1200
height = 90 + 230 * lines

stats section('scaling') using workers nooutput
set logscale x 2
set logscale y 2
set xrange [STATS_min / sqrt(2) : STATS_max * sqrt(2)]
draw = "set tics font ',9'; set border 3; set grid; set key off; \
    set multiplot layout lines, columns title \
    sprintf(\"ns of a thread for a malloc and a free, by number of %s\n%s\", workers, machine) noenhanced; \
    do for [w = 1 : words(workloads)] { \
        set title word(workloads, w) noenhanced; set yrange [* : *]; \
        stats series('scaling', 'workload', word(workloads, w)) using 'ns_per_pair' nooutput; \
        set yrange [STATS_min / 1.3 : STATS_max * 1.3]; \
        plot for [i = 1 : words(backends)] curve(word(workloads, w), word(backends, i)) \
            using workers:'ns_per_pair':xtic(stringcolumn(workers)) with linespoints linewidth 2 \
            pointsize 0.8 pointtype point(i) linecolor rgb colour(i) notitle; \
    }; \
    unset title; unset tics; unset border; unset grid; set yrange [1 : 2]; set key center center reverse Left; \
    plot for [i = 1 : words(backends)] 0.5 with linespoints linewidth 2 pointtype point(i) \
        linecolor rgb colour(i) title word(backends, i) noenhanced; \
    unset multiplot"
eval show_picture
