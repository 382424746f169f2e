# What single calls of malloc take on each workload, from the CSV of alps-bench: median, two high
# percentiles and maximum, of ALPS, of the reference, and of the first two other backends.
#
#     gnuplot -c plots/bench-latency.gp RESULTS.csv PICTURE
#
# makes PICTURE.png and PICTURE.svg.
value = "malloc_max_ns"
script = ARG0 ; results = ARG1 ; picture = ARG2 ; arguments = ARGC
load system("dirname -- '" . script . "'") . "/bench-rows.gp"

# One line in each row for a backend.
shown = ""
do for [name in "alps " . reference . " " . backends] {
    if (index_of(name, backends) > 0 && index_of(name, shown . " alps-calls alps-to") == 0 && \
        words(shown) < 4) {
        shown = shown . " " . name
    }
}
quantiles = "malloc_p50_ns malloc_p99_ns malloc_p999_ns malloc_max_ns"
array names_of[4] = ["median", "99 %", "99.9 %", "maximum"]
array marks[4] = [6, 9, 7, 2]

set title sprintf("Calls of malloc, %s\n%s", team, machine) noenhanced
set xlabel "time of a call, with the reading of the clock"
set xtics ("10 ns" 10, "100 ns" 100, "1 us" 1e3, "10 us" 1e4, "100 us" 1e5, "1 ms" 1e6, \
    "10 ms" 1e7, "100 ms" 1e8, "1 s" 1e9)
set autoscale x
unset arrow
draw = "plot for [name in shown] of_backend(name) \
    using 'malloc_p50_ns':(line(index_of(name, shown), words(shown))): \
    (column('malloc_max_ns') - column('malloc_p50_ns')):(0) \
    with vectors nohead linewidth 2 linecolor rgb colour(looks_of(name)) title name, \
    for [name in shown] for [q = 1 : 4] of_backend(name) \
    using (column(word(quantiles, q))):(line(index_of(name, shown), words(shown))) with points \
    pointtype marks[q] pointsize 0.8 linewidth 1.5 linecolor rgb colour(looks_of(name)) notitle, \
    for [q = 1 : 4] NaN with points pointtype marks[q] linewidth 1.5 linecolor rgb 'black' \
    title names_of[q]"
eval show_picture
