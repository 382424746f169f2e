title  = pool of CXL memory behind one switch, shared by hosts
source = figures of XConn and Alibaba, secondary: 64 B read 750 ns, write 780 ns; 26 GB/s a host, 53 GB/s the pool
interleave = 4 KiB

[link port]
scope     = host
latency   = 100 ns
bandwidth = 26 GB/s

[link switch]
latency   = 200 ns

[memory pool]
count     = 2
read      = 450 ns
write     = 480 ns
bandwidth = 26.5 GB/s
