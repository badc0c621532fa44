// Runs all tests, or those whose name contains the first argument; prints TAP.
#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  int number = 0;
  int failed = 0;
  std::puts("TAP version 14");
  for (const check::Test& test : check::tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    check::failures().clear();
    test.body();
    const bool ok = check::failures().empty();
    failed += ok ? 0 : 1;
    std::printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, test.name);
    size_t shown = 0;
    for (const std::string& failure : check::failures()) {
      if (++shown > 5) break;
      std::printf("  # %s\n", failure.c_str());
    }
  }
  std::printf("1..%d\n", number);
  return failed == 0 ? 0 : 1;
}
