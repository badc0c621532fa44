// The kernel table: what a device can do. Operations in ops/ are written against it alone.
#pragma once

#include "palimpsest/cpu_features.h"
#include "palimpsest/kernels/attention.h"
#include "palimpsest/kernels/conv.h"
#include "palimpsest/kernels/dense.h"
#include "palimpsest/kernels/elementwise.h"
#include "palimpsest/kernels/embedding.h"
#include "palimpsest/kernels/gemm.h"
#include "palimpsest/kernels/indexing.h"
#include "palimpsest/kernels/masks.h"
#include "palimpsest/kernels/nn.h"
#include "palimpsest/kernels/norm.h"
#include "palimpsest/kernels/optim.h"
#include "palimpsest/kernels/panel.h"
#include "palimpsest/kernels/probe.h"
#include "palimpsest/kernels/random.h"
#include "palimpsest/kernels/reduce.h"
#include "palimpsest/kernels/scan.h"
#include "palimpsest/kernels/selection.h"
#include "palimpsest/kernels/spiking.h"

namespace palimpsest {

struct KernelTable {
  const char* device;  // "cpu", "cuda"
  AttentionKernels attention;
  ConvKernels conv;
  DenseKernels<float> dense32;
  DenseKernels<double> dense64;
  ElementwiseKernels elementwise;
  EmbeddingKernels embedding;
  GemmKernels gemm;
  IndexingKernels indexing;
  MaskKernels masks;
  NnKernels nn;
  NormKernels norm;
  OptimKernels optim;
  PanelKernels<float> panel32;
  PanelKernels<double> panel64;
  ProbeKernels probe;
  RandomKernels random;
  ReduceKernels reduce;
  ScanKernels scan;
  SelectionKernels selection;
  SpikingKernels spiking;
};

// The best variants for a level that this machine has.
const KernelTable& cpu_kernels(CpuLevel level);

}  // namespace palimpsest
