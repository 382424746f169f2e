title  = pool of CXL memory behind two switches
source = extrapolated from cxl-switch
interleave = 4 KiB

[link port]
scope     = host
latency   = 100 ns
bandwidth = 26 GB/s

[link leaf]
latency   = 100 ns
bandwidth = 53 GB/s

[link spine]
latency   = 150 ns

[memory pool]
count     = 2
read      = 450 ns
write     = 480 ns
bandwidth = 26.5 GB/s
