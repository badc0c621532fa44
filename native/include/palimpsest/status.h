// What an engine call answers: success, or a code and a message for people.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace palimpsest {

// Each code becomes one error class of the TypeScript layer (lib/engine/errors.ts).
enum class Code : uint8_t {
  ok,
  argument,   // ArgumentError: a value out of its range
  shape,      // ShapeError
  dtype,      // DTypeError
  device,     // DeviceError: no such device, wrong device, out of memory
  disposed,   // DisposedError: a disposed tensor or a detached buffer
  numerical,  // NumericalError: NaN or Inf where not allowed, no convergence
  format,     // FormatError: a malformed file
  aborted,    // AbortError
  internal,   // PalimpsestError: a defect of ours
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

}  // namespace palimpsest

// Leaves the enclosing function with the status of `expr` unless it is ok.
#define PALIMPSEST_TRY(expr)                                     \
  do {                                                           \
    if (::palimpsest::Status status_ = (expr); !status_.ok()) {  \
      return status_;                                            \
    }                                                            \
  } while (false)
