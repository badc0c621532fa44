#include "palimpsest/device.h"

#include <utility>

#include "core/table_visit.h"

namespace palimpsest {
namespace {

Status not_on_device() {
  return {Code::device,
          "this operation has no kernel on its operands' device: bring them to the CPU with to('cpu')"};
}

// Stands where a device's table has no kernel.
template <typename Kernel>
struct Refusal;
template <typename... Args>
struct Refusal<Status (*)(Args...)> {
  static Status call(Args...) { return not_on_device(); }
};
template <typename... Args>
struct Refusal<void (*)(Args...)> {
  static void call(Args...) { throw NotOnDevice{not_on_device()}; }
};

// Probes and what else may be empty by its contract stay as they are: callers look.
KernelTable complete(const KernelTable& plugin) {
  KernelTable table = plugin;
  each_kernel(table, [&table]<typename Kernel>(auto, Kernel& kernel) {
    const auto* at = reinterpret_cast<const std::byte*>(&kernel);
    const auto within = [at](const auto& family) {
      const auto* start = reinterpret_cast<const std::byte*>(&family);
      return at >= start && at < start + sizeof(family);
    };
    const bool may_be_empty = within(table.probe) || within(table.gemm.mixed) || within(table.conv.direct) ||
                              within(table.conv.direct_weight) || within(table.norm.unit) ||
                              within(table.optim.decayed_updates) || within(table.optim.neuron_factors_each) ||
                              within(table.optim.decide);
    if (kernel == nullptr && !may_be_empty) kernel = Refusal<Kernel>::call;
  });
  return table;
}

Status outcome(bool good, const PluginText& reason) {
  return good ? Status() : Status(Code::device, reason.text);
}

}  // namespace

Status Device::open(const PluginApi& api, int index, std::shared_ptr<Device>& device) {
  PluginText reason;
  void* handle = api.open(index, &reason);
  if (handle == nullptr) return {Code::device, reason.text};
  device.reset(new Device(api, handle, std::string(api.kind) + ":" + std::to_string(index)));
  return {};
}

Device::Device(const PluginApi& api, void* handle, std::string id)
    : api_(api),
      handle_(handle),
      id_(std::move(id)),
      kernels_(complete(*api.kernels(handle))),
      memory_(api, handle) {}

Device::~Device() {
  api_.enter(handle_);
  idle_.clear();
  memory_.trim();
  api_.close(handle_);
}

Status Device::upload(void* to, const void* from, size_t bytes) {
  PluginText reason;
  api_.enter(handle_);
  return outcome(api_.upload(handle_, to, from, bytes, &reason), reason);
}

Status Device::download(void* to, const void* from, size_t bytes) {
  PluginText reason;
  api_.enter(handle_);
  return outcome(api_.download(handle_, to, from, bytes, &reason), reason);
}

Status Device::copy(void* to, const void* from, size_t bytes) {
  PluginText reason;
  api_.enter(handle_);
  return outcome(api_.copy(handle_, to, from, bytes, &reason), reason);
}

Status Device::synchronize() {
  PluginText reason;
  api_.enter(handle_);
  return outcome(api_.synchronize(handle_, &reason), reason);
}

Status Device::clock(int point, double& milliseconds) {
  PluginText reason;
  api_.enter(handle_);
  return outcome(api_.clock(handle_, point, &milliseconds, &reason), reason);
}

std::unique_ptr<Workspace> Device::borrow() {
  const std::lock_guard guard(mutex_);
  if (!idle_.empty()) {
    std::unique_ptr<Workspace> workspace = std::move(idle_.back());
    idle_.pop_back();
    return workspace;
  }
  return std::make_unique<Workspace>(scratch_source());
}

MemorySource Device::scratch_source() {
  return {[](void* memory, size_t bytes) { return static_cast<DeviceMemory*>(memory)->allocate(bytes); },
          [](void* memory, void* pointer) { static_cast<DeviceMemory*>(memory)->release(pointer); }, &memory_};
}

Device::Lease::Lease(Device& device, const std::atomic<bool>* abort)
    : device_(device), workspace_(device.borrow()), context(device.kernels_, *workspace_, 1) {
  device.api_.enter(device.handle_);
  context.abort = abort;
  context.device = device.handle_;
  context.access = &device;
}

Device::Lease::~Lease() {
  const std::lock_guard guard(device_.mutex_);
  device_.idle_.push_back(std::move(workspace_));
}

}  // namespace palimpsest
