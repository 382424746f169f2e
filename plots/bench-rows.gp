# What the pictures of alps-bench's CSV share: a row for each workload, in it a line for each backend.
# A script that loads this one has set value, the column that it draws, and copied its arguments.
program = "alps-bench"
record = "result"
load system("dirname -- '" . script . "'") . "/common.gp"

workloads = values_of("result", "workload")
backends = values_of("result", "backend")
reference = about("reference")
of_backend(name) = series("result", "backend", name)

index_of(name, list) = int(sum [i = 1 : words(list)] (word(list, i) eq name ? i : 0))
# Where the i-th of count lines of a record's row lies.
line(i, count) = index_of(stringcolumn("workload"), workloads) + 0.8 * ((i - 0.5) / count - 0.5)
looks_of(name) = index_of(name, backends)

team = about("threads") == 1 ? "one thread" : about("threads") . " threads"
if (about("processes") > 1) team = team . " in each of " . about("processes") . " processes"

stats section("result") using (column(value) > 0 ? column(value) : NaN) nooutput
set xrange [0.9 * (STATS_min < 1 ? STATS_min : 1) : 1.1 * (STATS_max > 2 ? STATS_max : 2)]
height = 120 + 45 * words(workloads)
if (height < 420) height = 420
set logscale x
set format x "%g"
set xtics nomirror out add (0.002, 0.005, 0.02, 0.05, 0.2, 0.5, 2, 5, 20, 50)
set yrange [words(workloads) + 0.6 : 0.4]
set ytics scale 0 (word(workloads, 1) 1)
set for [i = 1 : words(workloads)] ytics add (word(workloads, i) i)
unset grid
set grid xtics linetype 1 linecolor rgb "#dddddd"
set arrow from 1, graph 0 to 1, graph 1 nohead linewidth 2 linecolor rgb "#777777"
set for [i = 1 : words(workloads) : 2] object i rectangle \
    from graph 0, first i - 0.5 to graph 1, first i + 0.5 behind \
    fillcolor rgb "#f3f3f3" fillstyle solid noborder

# A point for each backend on each workload, that of ALPS with a line from 1.
from(name) = name eq "alps" ? 1 : column(value)
dots = "plot for [name in backends] of_backend(name) \
    using (from(name)):(line(index_of(name, backends), words(backends))) \
    :(column(value) - from(name)):(0) with vectors nohead linewidth 3 \
    linecolor rgb colour(looks_of(name)) notitle, \
    for [name in backends] of_backend(name) \
    using (column(value)):(line(index_of(name, backends), words(backends))) with points \
    linewidth 2 pointtype point(looks_of(name)) pointsize name eq 'alps' ? 1.5 : 0.9 \
    linecolor rgb colour(looks_of(name)) title name"
set key outside right top reverse Left noenhanced
