title  = remote memory over RDMA
source = Alibaba, secondary: 64 B read 4.55 us; 2 to 4.5 us is the range
coherent = no
parallelism = 16

[link nic]
scope     = host
latency   = 1 us
bandwidth = 12 GB/s

[memory remote]
read      = 2 us
atomic    = 2.5 us
bandwidth = 100 GB/s
