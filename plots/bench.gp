# How fast each backend is on each workload against the reference, from the CSV of alps-bench: to the
# right of 1 it is faster.
#
#     gnuplot -c plots/bench.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
value = "ratio"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/bench-rows.gp"

set title sprintf("Speed against %s, %s\n%s", reference, team, machine) noenhanced
set xlabel "times as fast as " . reference noenhanced
draw = dots
eval show_picture
