// SPDX-License-Identifier: Apache-2.0
// A pool for one parallel loop at a time. Workers wait on a generation counter: they spin for some
// tens of microseconds (the gap between two operators of a decode step), then sleep. Tasks are
// claimed one by one, so a slow core takes fewer.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "dovetail/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dovetail {
namespace {

constexpr int kSpins = 4000;  // about 50 us of pause instructions

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

struct ThreadPool::State {
  explicit State(int threads) {
    for (int i = 1; i < threads; ++i) {
      workers.emplace_back([this] { work(); });
    }
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      generation.fetch_add(1);
    }
    wake.notify_all();
    for (std::thread& worker : workers) {
      worker.join();
    }
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i) {
        relax();
      }
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load() != seen; });
        seen = generation.load();
        if (stopping) {
          return;
        }
      }
      claim();
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        pending.notify_one();
      }
    }
  }

  void claim() {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      task(arg, i);
    }
  }

  void run(std::size_t tasks, void (*function)(void*, std::size_t), void* argument) {
    if (workers.empty() || tasks <= 1) {
      for (std::size_t i = 0; i < tasks; ++i) {
        function(argument, i);
      }
      return;
    }
    const std::lock_guard one_loop(loop_mutex);
    {
      const std::lock_guard lock(mutex);
      task = function;
      arg = argument;
      count = tasks;
      next.store(0);
      pending.store(static_cast<int>(workers.size()));
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    claim();
    for (int left = pending.load(std::memory_order_acquire); left != 0;
         left = pending.load(std::memory_order_acquire)) {
      for (int i = 0; i < kSpins && pending.load(std::memory_order_acquire) != 0; ++i) {
        relax();
      }
      if ((left = pending.load(std::memory_order_acquire)) != 0) {
        pending.wait(left, std::memory_order_acquire);
      }
    }
  }

  std::vector<std::thread> workers;
  std::mutex loop_mutex;  // held by the caller whose loop runs
  std::mutex mutex;       // guards the fields below when a loop is published
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  bool stopping = false;
  void (*task)(void*, std::size_t) = nullptr;
  void* arg = nullptr;
  std::size_t count = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<int> pending{0};
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>(threads)) {}
ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const {
  return static_cast<int>(state_->workers.size()) + 1;
}

TaskRunner ThreadPool::runner() {
  return {state_.get(), [](void* context, std::size_t count, void (*task)(void*, std::size_t),
                           void* arg) { static_cast<State*>(context)->run(count, task, arg); }};
}

}  // namespace dovetail
