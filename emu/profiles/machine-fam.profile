title  = fabric-attached memory of a whole machine, coherent only within a host
source = an assumption: nothing published was found
coherent = no

[link port]
scope     = host
latency   = 150 ns
bandwidth = 10 GB/s

[link fabric]
latency   = 350 ns

[memory fam]
read      = 500 ns
atomic    = 700 ns
bandwidth = 10 GB/s
