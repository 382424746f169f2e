title  = Optane persistent memory, six modules of one socket
source = Izraelevitz 2019, Yang 2020: random read 305 ns, write 90 ns, 39.4 and 13.9 GB/s, 256 B grain

[memory module]
read      = 305 ns
write     = 90 ns
atomic    = 305 ns
flush     = 90 ns
grain     = 256 B
bandwidth = 13.9 GB/s at 0 % reads, 39.4 GB/s at 100 % reads
