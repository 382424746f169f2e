#include <emu/topology.h>

#include <stdio.h>

int main(void)
{
    puts(EMU_VERSION);
    emu_stop();
    return emu_node_kind_name(EMU_NODE_DRAM) == NULL;
}
