title  = DDR of the other socket
source = Intel MLC logs of Skylake-X: 149 ns; Quartz issue 20: 88 to 128 ns

[link socket]
latency   = 50 ns
bandwidth = 40 GB/s

[memory dram]
read      = 99 ns
bandwidth = 100 GB/s
