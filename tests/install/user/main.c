#include <alps/alps.h>

#include <stdio.h>

int main(void)
{
    puts(alps_version());
    return 0;
}
