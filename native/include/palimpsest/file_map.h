// A file's bytes as memory, read by the system when they are touched.
#pragma once

#include <cstddef>
#include <string>

#include "palimpsest/status.h"

namespace palimpsest {

// A private mapping: writing to it changes memory, never the file. Another process that cuts the
// file short while it is mapped takes the pages away, which no program survives touching: map only
// files that nobody rewrites in place.
struct FileMap {
  void* data = nullptr;
  size_t size = 0;
};

// Maps the whole file; an empty one gives a null pointer.
Status map_file(const std::string& path, FileMap& map);
void unmap_file(const FileMap& map);

}  // namespace palimpsest
