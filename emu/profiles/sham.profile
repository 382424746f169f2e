# Nothing is added. What emulation itself costs shows when this is compared with no emulator.
title  = the machine's own memory, with the emulator running
source = none

[memory own]
