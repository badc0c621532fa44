#include "palimpsest/file_map.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "check.h"

using namespace palimpsest;

TEST("file map: the file's bytes, and writing leaves the file alone") {
  std::string path = "/tmp/palimpsest-XXXXXX";
  const int file = mkstemp(path.data());
  CHECK(write(file, "palimpsest", 10) == 10);
  close(file);
  FileMap map;
  CHECK(map_file(path, map).ok());
  CHECK(map.size == 10 && std::memcmp(map.data, "palimpsest", 10) == 0);
  static_cast<char*>(map.data)[0] = 'P';
  FileMap again;
  CHECK(map_file(path, again).ok());
  CHECK(static_cast<char*>(again.data)[0] == 'p');
  unmap_file(map);
  unmap_file(again);
  std::remove(path.c_str());
  CHECK(map_file(path, map).code() == Code::argument);
  CHECK(map_file("/", map).code() == Code::argument);
}
