title  = slower CXL memory expander
source = CXLMemSim's artefact: Intel MLC on Sapphire Rapids, 437 ns, 19 GB/s

[memory expander]
read      = 437 ns
bandwidth = 19 GB/s
