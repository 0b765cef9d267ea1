// SPDX-License-Identifier: Apache-2.0
// plugin_host LIBRARY...: lists the creators of any vendor's TensorRT plugin libraries, without
// TensorRT itself.
#include <cstdio>

#include "plugin_host/plugin_host.h"

int main(int argc, char** argv) {
  using namespace dovetail::plugin_host;
  if (argc < 2) {
    std::fprintf(stderr, "usage: plugin_host LIBRARY...\n");
    return 2;
  }
  int failures = 0;
  for (int i = 1; i < argc; ++i) {
    const auto library = Library::open(argv[i], LoggerForm::kVersioned);
    if (!library.ok()) {
      std::fprintf(stderr, "error: %s\n", library.status().message().c_str());
      ++failures;
      continue;
    }
    for (const CreatorInfo& creator : (*library)->creators()) {
      std::printf("%s version %s namespace \"%s\" (%s):", creator.name.c_str(),
                  creator.version.c_str(), creator.plugin_namespace.c_str(),
                  creator.interface_kind.c_str());
      for (const std::string& field : creator.fields) {
        std::printf(" %s", field.c_str());
      }
      std::printf("\n");
    }
  }
  return failures == 0 ? 0 : 1;
}
