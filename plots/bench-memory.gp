# Bytes of memory held for each byte that the program had asked for, at the peak of each workload,
# from the CSV of alps-bench: 1 is the least that is possible.
#
#     gnuplot -c plots/bench-memory.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
value = "held_per_live"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/bench-rows.gp"

set title sprintf("Memory held, %s\n%s", team, machine) noenhanced
set xlabel "bytes held for a byte that is live"
draw = dots
eval show_picture
