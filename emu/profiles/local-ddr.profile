title  = DDR4 or DDR5 of the processor's own socket
source = Intel MLC logs of Skylake-X (96.6 and 102.5 ns); Melody (117 ns)
parallelism = 12

[memory dram]
read      = 105 ns
bandwidth = 100 GB/s
