# Recovery of a dead process over the blocks that it owned, a line for each capacity of the heap,
# from the CSV of alps-bench-recovery.
#
#     gnuplot -c plots/recovery.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
program = "alps-bench-recovery"
record = "recovery"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/common.gp"

capacities = values_of("recovery", "capacity_mib")

set title sprintf("Recovery of a dead process with blocks of %s bytes\n%s", \
    about("block_size"), machine) noenhanced
set xlabel "blocks that it owned"
set ylabel "milliseconds"
set logscale xy
set format x "10^{%L}"
set format y "%g"
set key top left reverse Left title "capacity of the heap" left

size_of(mib) = mib >= 1048576 ? sprintf("%g TiB", mib / 1048576) : \
    mib >= 1024 ? sprintf("%g GiB", mib / 1024) : sprintf("%g MiB", mib)
draw = "plot for [i = 1 : words(capacities)] \
    series('recovery', 'capacity_mib', word(capacities, i)) using 'blocks':'recover_ms' \
    with linespoints linewidth 2 pointtype point(i) pointsize 1.3 linecolor rgb colour(i) \
    title size_of(real(word(capacities, i))), \
    x * 5e-6 with lines linetype 1 linecolor rgb '#999999' title '5 ns a block'"
eval show_picture
