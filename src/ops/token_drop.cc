#include "ops/token_drop.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/philox.h"

namespace lastbit::ops {
namespace {

std::int64_t share_of(double factor, std::int64_t pairs, std::int64_t takers) {
  return static_cast<std::int64_t>(std::ceil(factor * static_cast<double>(pairs) / static_cast<double>(takers)));
}

}  // namespace

std::int64_t expert_capacity(double capacity_factor, std::int64_t top_k, std::int64_t tokens, std::int64_t experts) {
  return share_of(capacity_factor, top_k * tokens, experts);
}

std::int64_t skip_second_at_random(Choices& choices, const RouteContext& context) {
  core::check(choices.top_k == 2, "route: random_second is for two experts a token");
  const core::RandomStream random(context.seed, "router_second", context.layer, context.step);
  std::int64_t skipped = 0;
  for (std::int64_t t = 0; t < choices.tokens; ++t) {
    const double first = choices.affinity[choices.slot(t, 0)];
    const double second = choices.affinity[choices.slot(t, 1)];
    const double share = second / (first + second + kAffinityOffset);
    if (2 * share > static_cast<double>(random.uniform(static_cast<std::uint64_t>(context.first_token + t)))) continue;
    choices.kept[choices.slot(t, 1)] = 0;
    ++skipped;
  }
  return skipped;
}

std::int64_t drop_beyond_expert_capacity(Choices& choices, double capacity_factor) {
  const std::int64_t capacity = expert_capacity(capacity_factor, choices.top_k, choices.tokens, choices.experts);
  std::vector<std::int64_t> taken(static_cast<std::size_t>(choices.experts), 0);
  std::int64_t dropped = 0;
  for (std::int64_t place = 0; place < choices.top_k; ++place)
    for (std::int64_t t = 0; t < choices.tokens; ++t) {
      const std::size_t slot = choices.slot(t, place);
      if (choices.kept[slot] == 0) continue;
      std::int64_t& count = taken[static_cast<std::size_t>(choices.expert[slot])];
      if (count < capacity) {
        ++count;
      } else {
        choices.kept[slot] = 0;
        ++dropped;
      }
    }
  return dropped;
}

std::int64_t drop_beyond_device_capacity(Choices& choices, const RouterRule& rule, const RouteContext& context) {
  core::check(rule.devices > 0 && choices.experts % rule.devices == 0, "route: devices divide the experts");
  core::check(rule.protected_share == 0 || context.tokens_a_sequence > 0,
              "route: exempt sequences need tokens_a_sequence");
  const std::int64_t experts_a_device = choices.experts / rule.devices;
  const std::int64_t budget = share_of(rule.device_capacity_factor, choices.top_k * choices.tokens, rule.devices);
  const core::RandomStream random(context.seed, "router_protect", 0, context.step);  // exempt in every layer
  std::vector<std::int64_t> load(static_cast<std::size_t>(rule.devices), 0);
  std::vector<std::vector<std::size_t>> exposed(static_cast<std::size_t>(rule.devices));  // slots that may be dropped
  for (std::int64_t t = 0; t < choices.tokens; ++t) {
    const bool is_protected =
        rule.protected_share > 0 && static_cast<double>(random.uniform(static_cast<std::uint64_t>(
                                        (context.first_token + t) / context.tokens_a_sequence))) < rule.protected_share;
    for (std::int64_t place = 0; place < choices.top_k; ++place) {
      const std::size_t slot = choices.slot(t, place);
      if (choices.kept[slot] == 0) continue;
      const auto device = static_cast<std::size_t>(choices.expert[slot] / experts_a_device);
      ++load[device];
      if (!is_protected) exposed[device].push_back(slot);
    }
  }
  const auto goes_first = [&](std::size_t a, std::size_t b) {
    if (choices.affinity[a] != choices.affinity[b]) return choices.affinity[a] < choices.affinity[b];
    const std::size_t token_a = a / static_cast<std::size_t>(choices.top_k);
    const std::size_t token_b = b / static_cast<std::size_t>(choices.top_k);
    return token_a != token_b ? token_a > token_b : choices.expert[a] > choices.expert[b];
  };
  std::int64_t dropped = 0;
  for (std::size_t device = 0; device < exposed.size(); ++device) {
    std::vector<std::size_t>& slots = exposed[device];
    const auto excess =
        std::min(static_cast<std::int64_t>(slots.size()), std::max<std::int64_t>(load[device] - budget, 0));
    std::partial_sort(slots.begin(), slots.begin() + excess, slots.end(), goes_first);
    for (std::int64_t i = 0; i < excess; ++i) choices.kept[slots[static_cast<std::size_t>(i)]] = 0;
    dropped += excess;
  }
  return dropped;
}

}  // namespace lastbit::ops
