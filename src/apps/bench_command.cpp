// SPDX-License-Identifier: Apache-2.0
// dovetail-run bench: prefill and decode speed of a package on this machine, with random token ids.
// Every row runs `repeat` times; figures are medians, the spread is (slowest - fastest) / median.
#include <algorithm>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/commands.h"
#include "apps/process.h"
#include "dovetail/cpu.h"
#include "ops/message.h"
#include "runtime/loaded_model.h"

namespace dovetail::apps {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Arguments {
  ModelArguments model;
  std::vector<int> prompt_tokens{128, 512};
  int decode_tokens = 64;
  int batch = 1;
  int repeat = 3;
};

struct Row {
  int prompt_tokens = 0;
  std::vector<double> prefill_seconds{};
  std::vector<double> decode_seconds{};
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

double spread(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return (*high - *low) / median(values);
}

std::int32_t best_token(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// One prefill and the decode steps behind it.
Status measure(Decoder& decoder, const Arguments& args, const LoadedModel& model, Row& row) {
  const std::int64_t vocab_size = model.package.manifest.model.vocab_size;

  const auto lanes = static_cast<std::size_t>(args.batch);
  const auto vocabulary = static_cast<std::size_t>(vocab_size);
  std::mt19937 random(1);
  std::uniform_int_distribution<std::int32_t> any_token(0,
                                                        static_cast<std::int32_t>(vocab_size) - 1);
  std::vector<std::vector<std::int32_t>> prompts(lanes);
  std::vector<TokenSpan> spans(lanes);
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    std::generate_n(std::back_inserter(prompts[lane]), row.prompt_tokens,
                    [&] { return any_token(random); });
    spans[lane] = prompts[lane];
  }
  decoder.reset();
  auto start = Clock::now();
  const auto lap = [&start] {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(start, now)).count();
  };
  Result<std::span<const float>> logits = decoder.prefill(spans, model.options.prefill_chunk);
  std::vector<std::int32_t> tokens(lanes);
  for (int step = 0; logits.ok() && !interrupted(); ++step) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      tokens[lane] = best_token(logits->subspan(lane * vocabulary, vocabulary));
      spans[lane] = {&tokens[lane], 1};
    }
    if (step == 0) {
      row.prefill_seconds.push_back(lap());
    }
    if (step == args.decode_tokens) {
      break;
    }
    logits = decoder.step(spans, LogitRows::kLast);
  }
  row.decode_seconds.push_back(lap());
  return logits.status();
}

Json to_json(const Row& row, const Arguments& args) {
  const double prefill = median(row.prefill_seconds);
  const double decode = median(row.decode_seconds);
  return {{"prompt_tokens", row.prompt_tokens},
          {"batch", args.batch},
          {"first_token_seconds", prefill},
          {"prefill_tokens_per_second", row.prompt_tokens * args.batch / prefill},
          {"prefill_spread", spread(row.prefill_seconds)},
          {"decode_tokens", args.decode_tokens},
          {"decode_tokens_per_second",
           args.decode_tokens > 0 ? args.decode_tokens * args.batch / decode : 0.0},
          {"decode_spread", spread(row.decode_seconds)}};
}

void print_row(const Json& row) {
  std::cout << std::fixed << std::setw(8) << row["prompt_tokens"].get<int>() << std::setw(7)
            << row["batch"].get<int>() << std::setprecision(1) << std::setw(16)
            << row["first_token_seconds"].get<double>() * 1e3 << std::setw(17)
            << row["prefill_tokens_per_second"].get<double>() << std::setw(6)
            << std::setprecision(0) << row["prefill_spread"].get<double>() * 100 << '%'
            << std::setprecision(1) << std::setw(17)
            << row["decode_tokens_per_second"].get<double>() << std::setw(6) << std::setprecision(0)
            << row["decode_spread"].get<double>() * 100 << "%\n";
}

Status check(const Arguments& args, const Manifest& manifest) {
  if (args.batch < 1 || args.repeat < 1 || args.decode_tokens < 0) {
    return invalid_argument("batch is ", args.batch, ", repeat ", args.repeat, ", decode-tokens ",
                            args.decode_tokens, ", expected positive numbers");
  }
  for (const int length : args.prompt_tokens) {
    if (length < 1 || length + args.decode_tokens > manifest.capacity) {
      return invalid_argument("prompt-tokens ", length, " and decode-tokens ", args.decode_tokens,
                              " do not fit the package's capacity of ", manifest.capacity);
    }
  }
  return Status::success();
}

Result<int> run(const Arguments& args) {
  const auto start = Clock::now();
  Result<std::shared_ptr<LoadedModel>> opened =
      LoadedModel::open(args.model.package, args.model.session);
  if (!opened.ok()) {
    return opened.status();
  }
  const double load_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  LoadedModel& model = **opened;
  const Manifest& manifest = model.package.manifest;
  DOVETAIL_RETURN_IF_ERROR(check(args, manifest));
  std::string tier;  // of the CPU kernels, where they run
  if (model.options.device != "cuda") {
    const Result<CpuDevice> cpu = cpu_device(model.options.threads);
    if (!cpu.ok()) {
      return cpu.status();
    }
    tier = name_of(cpu->tier);
  }
  Result<LoadedModel::DecoderHandle> decoder = LoadedModel::borrow_decoder(*opened, args.batch);
  if (!decoder.ok()) {
    return decoder.status();
  }
  if (!args.model.json) {
    std::cout
        << model.engine->describe() << (tier.empty() ? "" : ", tier " + tier) << ", loaded in "
        << std::setprecision(3) << load_seconds << " s\n"
        << "  prompt  batch  first token ms  prefill tokens/s      %  decode tokens/s      %\n";
  }
  Json rows = Json::array();
  for (const int length : args.prompt_tokens) {
    Row row{.prompt_tokens = length};
    for (int i = 0; i < args.repeat && !interrupted(); ++i) {
      DOVETAIL_RETURN_IF_ERROR(measure(**decoder, args, model, row));
    }
    if (interrupted()) {
      return kInterruptedExitCode;
    }
    rows.push_back(to_json(row, args));
    if (!args.model.json) {
      print_row(rows.back());
    }
  }
  const double mebibyte = 1024.0 * 1024.0;
  if (args.model.json) {
    Json report = {{"package", args.model.package},
                   {"engine", model.engine->describe()},
                   {"threads", model.options.threads},
                   {"load_seconds", load_seconds},
                   {"package_bytes", model.package.total_bytes()},
                   {"peak_resident_bytes", peak_resident_bytes()},
                   {"anonymous_resident_bytes", anonymous_resident_bytes()},
                   {"rows", rows}};
    if (!tier.empty()) {
      report["tier"] = tier;
    }
    std::cout << report.dump(2) << '\n';
  } else {
    std::cout << std::setprecision(1) << "peak memory "
              << static_cast<double>(peak_resident_bytes()) / mebibyte << " MiB (package "
              << static_cast<double>(model.package.total_bytes()) / mebibyte
              << " MiB, mapped; not file-backed "
              << static_cast<double>(anonymous_resident_bytes()) / mebibyte << " MiB)\n";
  }
  return 0;
}

}  // namespace

Command add_bench(CLI::App& parser) {
  auto args = std::make_shared<Arguments>();
  args->model.add_to(parser);
  parser.add_option("--prompt-tokens", args->prompt_tokens, "Prompt lengths, one row each")
      ->delimiter(',')
      ->capture_default_str();
  parser.add_option("--decode-tokens", args->decode_tokens, "Tokens behind each prompt")
      ->capture_default_str();
  parser.add_option("--batch", args->batch, "Prompts that run together")->capture_default_str();
  parser.add_option("--repeat", args->repeat, "Runs of each row")->capture_default_str();
  return [args] { return run(*args); };
}

}  // namespace dovetail::apps
