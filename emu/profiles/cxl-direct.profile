title  = CXL memory expander at the host's own port
source = Melody: 214 to 394 ns over four devices, 25 GB/s at 8 lanes; bandwidth by mix: Mess

[link port]
scope     = host

# Full duplex: a mix moves more than reads alone. Mess measured 29.5 and 43.7 GB/s for two mixes of
# a device with more lanes; the ratio is used here.
[memory expander]
read      = 250 ns
bandwidth = 37 GB/s at 67 % reads, 25 GB/s at 100 % reads
