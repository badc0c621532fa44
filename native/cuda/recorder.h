// The recorders of the plugin.
#pragma once

#include "palimpsest/plugin.h"

namespace palimpsest::cuda {

const RecorderApi& recorder_api();

}  // namespace palimpsest::cuda
