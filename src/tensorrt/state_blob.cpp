// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/state_blob.h"

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "ops/message.h"
#include "tensorrt/fields.h"

namespace dovetail::tensorrt {
namespace {

std::string hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, 64 bit
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

std::string value_text(const AttributeValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return concat("int ", *integer);
  }
  if (const auto* real = std::get_if<double>(&value)) {
    return concat("float ",
                  std::bit_cast<std::uint32_t>(static_cast<float>(*real)));  // exact, no locale
  }
  return "string " + std::get<std::string>(value);
}

// Takes the text up to `separator` off the front of `rest`.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

}  // namespace

std::string encode_state(const OpSchema& schema, const std::vector<Attribute>& attributes) {
  std::string text = concat("dovetail-state ", kStateVersion, " ", schema.name, "\n");
  for (const Attribute& attribute : attributes) {
    text += attribute.name + " " + value_text(attribute.value) + "\n";
  }
  return text + "end " + hash_text(text) + "\n";
}

Result<std::vector<Attribute>> decode_state(const OpSchema& schema, std::string_view blob) {
  std::string_view header = blob.substr(0, blob.find('\n'));
  if (take(header, ' ') != "dovetail-state") {
    return data_loss(schema.prefix, ": serialised state does not begin with \"dovetail-state\"");
  }
  const std::string_view version_text = take(header, ' ');
  int version = 0;
  std::from_chars(version_text.data(), version_text.data() + version_text.size(), version);
  if (version < 1 || version > kStateVersion) {
    return data_loss(schema.prefix, ": serialised state has version ", std::string(version_text),
                     ", expected at most ", kStateVersion,
                     "; rebuild the engine or update the library");
  }
  if (header != schema.name) {
    return data_loss(schema.prefix, ": serialised state is of ", std::string(header), ", expected ",
                     schema.name);
  }
  const std::size_t end = blob.rfind("end ");
  if (end == std::string_view::npos ||
      blob.substr(end) != "end " + hash_text(blob.substr(0, end)) + "\n") {
    return data_loss(schema.prefix, ": serialised state of ", blob.size(),
                     " bytes is truncated or altered: its checksum does not match");
  }
  std::string_view rest = blob.substr(0, end);
  take(rest, '\n');
  std::vector<Attribute> attributes;
  while (!rest.empty()) {
    std::string_view line = take(rest, '\n');
    Attribute attribute{std::string(take(line, ' ')), std::int64_t{0}};
    const std::string_view type = take(line, ' ');
    if (type == "int") {
      std::int64_t value = 0;
      std::from_chars(line.data(), line.data() + line.size(), value);
      attribute.value = value;
    } else if (type == "float") {
      std::uint32_t bits = 0;
      std::from_chars(line.data(), line.data() + line.size(), bits);
      attribute.value = static_cast<double>(std::bit_cast<float>(bits));
    } else {
      attribute.value = std::string(line);
    }
    attributes.push_back(std::move(attribute));
  }
  return attributes;
}

}  // namespace dovetail::tensorrt
