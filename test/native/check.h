// The native unit tests' few words: TEST("…") { CHECK(…); CHECK_NEAR(…); }. main() prints TAP.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

inline std::vector<std::string>& failures() {
  static std::vector<std::string> of_current;
  return of_current;
}

inline void fail(const char* file, int line, const std::string& what) {
  failures().push_back(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                                              \
  static void CHECK_JOIN(test_, __LINE__)();                                                    \
  static const check::Registration CHECK_JOIN(registration_, __LINE__)(name,                    \
                                                                       CHECK_JOIN(test_, __LINE__)); \
  static void CHECK_JOIN(test_, __LINE__)()

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) check::fail(__FILE__, __LINE__, "CHECK(" #condition ")"); \
  } while (false)

// |actual − expected| ≤ tolerance; NaN fails.
#define CHECK_NEAR(actual, expected, tolerance)                                             \
  do {                                                                                      \
    const double actual_ = (actual), expected_ = (expected), tolerance_ = (tolerance);      \
    if (!(std::fabs(actual_ - expected_) <= tolerance_)) {                                  \
      check::fail(__FILE__, __LINE__,                                                       \
                  #actual " = " + std::to_string(actual_) + ", expected " +                 \
                      std::to_string(expected_) + " within " + std::to_string(tolerance_)); \
    }                                                                                       \
  } while (false)
