# A shuffle through the heap beside one by MPI_Alltoallv, over the size of a record, from the CSV of
# alps-mpi-shuffle: medians of the repetitions, with bars from the least to the most of them.
#
#     gnuplot -c plots/shuffle.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-mpi-shuffle"
record = "summary"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

numbers = values_of("summary", "ranks")
stats section("summary") using "record_bytes":"heap_max" nooutput
first = STATS_min_x
last = STATS_max_x

set title sprintf("Records from all ranks to all\n%s", machine) noenhanced
set xlabel "bytes of a record"
set ylabel "MB/s, all ranks"
set logscale x 2
set xrange [first / sqrt(2) : last * sqrt(2)]
set yrange [0 : *]
set key outside right top reverse Left

curve(way, what, shift, width) = sprintf("for [i = 1 : words(numbers)] \
    series('summary', 'ranks', word(numbers, i)) \
    using 'record_bytes':'%s_mb_per_s':'%s_min':'%s_max':xtic(stringcolumn('record_bytes')) \
    with yerrorlines linewidth %d pointsize 1.2 pointtype point(i + %d) \
    linecolor rgb colour(i + %d) title word(numbers, i) . ' ranks, %s'", \
    way, way, way, width, shift, shift, what)
draw = "plot " . curve("heap", "heap", 0, 2)
if (!simulated) draw = draw . ", " . curve("messages", "Alltoallv", 3, 1)
eval show_picture
