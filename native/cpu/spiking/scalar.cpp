// The plain ABI: whatever vectors every machine of the architecture has.
#define PALIMPSEST_LEVEL scalar
#include "cpu/spiking/kernels.inl"
