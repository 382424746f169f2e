# Recovery of a dead process over the blocks that it owned, a line for each capacity of the heap,
# from the CSV of alps-bench-recovery.
#
#     gnuplot -c plots/recovery.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
if (ARGC != 2) exit error "usage: gnuplot -c recovery.gp RESULTS.csv PICTURE"
results = ARG1
picture = ARG2

# The output of a shell command on the file, which may have any name.
escaped(name) = strstrt(name, "'") == 0 ? name : \
    name[1 : strstrt(name, "'") - 1] . "'\\''" . escaped(name[strstrt(name, "'") + 1 : *])
of_file(command) = system(command . " -- '" . escaped(results) . "'")
about(key) = of_file("sed -n 's/^# " . key . ": //p'")

if (of_file("head -c 0 2>&1") ne "") \
    exit error results . ": no such file, or not readable"
if (of_file("grep -c '^capacity_mib,blocks,zones,recover_ms,'") ne "1") \
    exit error results . ": not the CSV of one run of alps-bench-recovery"
capacities = of_file("sed -n 's/^\\([0-9][0-9]*\\),.*/\\1/p'")
if (words(capacities) == 0) \
    exit error results . ": holds no results"

# Each once, in the order of the file.
different = ""
do for [c in capacities] { if (strstrt(" " . different . " ", " " . c . " ") == 0) { different = different . " " . c } }

set datafile separator comma
set title sprintf("Recovery of a dead process with blocks of %s bytes\n%s, alps %s", \
    about("block_size"), about("cpu_model"), about("version")) noenhanced
set xlabel "blocks that it owned"
set ylabel "milliseconds"
set logscale xy
set format x "10^{%L}"
set format y "%g"
set xtics out nomirror
set ytics out nomirror
set grid ytics linetype 1 linecolor rgb "#dddddd"
set border 3
set key top left reverse Left title "capacity of the heap" left

size_of(mib) = mib >= 1048576 ? sprintf("%g TiB", mib / 1048576) : \
    mib >= 1024 ? sprintf("%g GiB", mib / 1024) : sprintf("%g MiB", mib)
array colours[4] = ["#1b5e9b", "#c2571a", "#2f7d32", "#7b3f98"]
colour(i) = colours[1 + (i - 1) % 4]

draw = "plot for [i = 1 : words(different)] results \
    using (column('capacity_mib') == real(word(different, i)) ? column('blocks') : NaN):'recover_ms' \
    with linespoints linewidth 2 pointtype 4 + i pointsize 1.3 linecolor rgb colour(i) \
    title size_of(real(word(different, i))), \
    x * 5e-6 with lines linetype 1 linecolor rgb '#999999' title '5 ns a block'"

set terminal pngcairo size 900, 600 font "sans,12" background rgb "white"
set output picture . ".png"
@draw
set terminal svg size 900, 600 font "sans,14" background rgb "white"
set output picture . ".svg"
@draw
set output
