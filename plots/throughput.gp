# Throughput over the number of ranks, from the CSV of alps-mpi-stress: the median of the
# repetitions, with bars from the least to the most of them.
#
#     gnuplot -c plots/throughput.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
if (ARGC != 2) exit error "usage: gnuplot -c throughput.gp RESULTS.csv PICTURE"
results = ARG1
picture = ARG2

# The output of a shell command on the file, which may have any name.
escaped(name) = strstrt(name, "'") == 0 ? name : \
    name[1 : strstrt(name, "'") - 1] . "'\\''" . escaped(name[strstrt(name, "'") + 1 : *])
of_file(command) = system(command . " -- '" . escaped(results) . "'")
about(key) = of_file("sed -n 's/^# " . key . ": //p'")

if (of_file("head -c 0 2>&1") ne "") \
    exit error results . ": no such file, or not readable"
if (of_file("grep -c '^ranks,mops_per_s,'") ne "1") \
    exit error results . ": not the CSV of one run of alps-mpi-stress"
if (of_file("grep -c '^[0-9]'") eq "0") \
    exit error results . ": holds no results"

cores = int(about("cores"))

set datafile separator comma
stats results using "ranks":"mops_max" nooutput
first = STATS_min_x
last = STATS_max_x
most = STATS_max_y

set title sprintf("Allocation and free by ranks on one heap\n%s, %d cores, alps %s", \
    about("cpu_model"), cores, about("version")) noenhanced
set xlabel "ranks"
set ylabel "million operations a second, all ranks"
set logscale x 2
set xrange [first / sqrt(2) : last * sqrt(2)]
set yrange [0 : most * 1.15]
set xtics out nomirror
set ytics out nomirror
set grid ytics linetype 1 linecolor rgb "#dddddd"
set border 3
set key bottom left reverse Left
if (cores > first && cores < last) \
    set arrow from cores, graph 0 to cores, graph 1 nohead dashtype 3 linecolor rgb "#777777" ; \
    set label "more ranks than cores" at cores, graph 0.97 offset 1, 0 textcolor rgb "#777777"

set style line 1 linecolor rgb "#1b5e9b" linewidth 2 pointtype 7 pointsize 1.2

draw = "plot results using 'ranks':'mops_per_s':'mops_min':'mops_max':xtic(1) \
    with yerrorlines linestyle 1 title 'median, least and most of the repetitions'"

set terminal pngcairo size 900, 600 font "sans,12" background rgb "white"
set output picture . ".png"
@draw
set terminal svg size 900, 600 font "sans,14" background rgb "white"
set output picture . ".svg"
@draw
set output
