#include "text/line_break_split.h"

#include "core/error.h"

namespace lastbit::text {

LineBreakSplitter::LineBreakSplitter(const Tokenizer& tokenizer, double share)
    : parts_(tokenizer.id_limit()), splits_(tokenizer.id_limit(), 0), share_(share) {
  if (!(share >= 0 && share <= 1)) core::fail_input("line-break split: share {}, expected a number in [0, 1]", share);
  Encoder encoder(tokenizer);
  for (const auto& [content, id] : tokenizer.description().vocab) {
    const std::string_view bytes = tokenizer.bytes_of(id);
    const std::size_t last = bytes.find_last_not_of("\r\n");
    if (last == std::string_view::npos || last + 1 == bytes.size()) continue;
    encoder.encode_ordinary(bytes.substr(0, last + 1), parts_[id]);
    encoder.encode_ordinary(bytes.substr(last + 1), parts_[id]);
    splits_[id] = 1;
    ++splittable_;
  }
}

void LineBreakSplitter::apply(std::span<const TokenId> ids, std::uint64_t seed, std::uint64_t document,
                              std::vector<TokenId>& result) const {
  const core::RandomStream stream(seed, "line-break split", static_cast<std::uint32_t>(document >> 32U),
                                  static_cast<std::uint32_t>(document));
  result.reserve(result.size() + ids.size() + ids.size() / 16);
  for (std::size_t place = 0; place < ids.size(); ++place) {
    if (splits_[ids[place]] == 0 || static_cast<double>(stream.word(place)) * 0x1p-32 >= share_) {
      result.push_back(ids[place]);
    } else {
      const std::vector<TokenId>& parts = parts_[ids[place]];
      result.insert(result.end(), parts.begin(), parts.end());
    }
  }
}

}  // namespace lastbit::text
