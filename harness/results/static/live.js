// Shows the progress of a run, and reloads a page after an update.
// Everything that comes from the store is set as text, never as markup. A page that a reader has touched (opened a
// part, typed into a filter) is not taken away: it offers to load.
(function () {
  "use strict";
  var panel = document.getElementById("live");
  var seen = null, touched = false, opened = {};
  document.addEventListener("input", function () { touched = true; });
  document.addEventListener("click", function (event) {
    if (!panel.contains(event.target) && event.target.closest("summary, button, select")) { touched = true; }
  });
  function add(parent, tag, text, name) {
    var element = document.createElement(tag);
    if (text !== undefined && text !== null) { element.textContent = text; }
    if (name) { element.className = name; }
    parent.appendChild(element);
    return element;
  }
  function span(seconds) {
    if (seconds === null || seconds === undefined) { return "…"; }
    if (seconds < 90) { return Math.round(seconds) + " s"; }
    return seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
  }
  function list(parent, title, rows, text) {
    if (!rows.length) { return; }
    var part = add(parent, "details");
    part.open = title in opened ? opened[title] : false;
    part.addEventListener("toggle", function () { opened[title] = part.open; });
    add(part, "summary", title);
    var items = add(part, "ul");
    rows.forEach(function (row) { add(items, "li", text(row)); });
  }
  function show(answer) {
    var run = answer.run;
    panel.hidden = !run && !answer.trouble && !panel.dataset.waiting;
    panel.textContent = "";
    if (panel.dataset.waiting) {
      var again = add(add(panel, "p"), "button", "New results: load the page again");
      again.type = "button";
      again.addEventListener("click", function () { location.reload(); });
    }
    if (answer.trouble) { add(panel, "p", answer.trouble, "bad"); }
    if (!run) { return; }
    var line = add(panel, "p");
    add(line, "b", run.suite + ", " + run.scale + " ");
    var bar = add(line, "progress");
    bar.max = Math.max(1, run.total);
    bar.value = run.reused + run.done;
    bar.setAttribute("aria-label", "Trials that have ended");
    add(line, "span", " " + (run.reused + run.done) + " of " + run.total + " trials" +
      (run.reused ? " (" + run.reused + " were stored)" : "") + " · " + span(run.left_seconds) + " left · " +
      (run.per_minute === null ? "…" : run.per_minute) + " a minute · " + span(run.elapsed_seconds) + " so far");
    if (run.failed) { add(line, "span", " · " + run.failed + " failed", "bad"); }
    if (run.silent) {
      add(panel, "p", "no sign of life for " + span(run.quiet_seconds) + ": its process may be gone", "bad");
    }
    list(panel, run.running.length + " running", run.running, function (trial) {
      return trial.label + (trial.steps ? ": step " + trial.step + " of " + trial.steps : "") +
        (trial.loss === null ? "" : ", loss " + Number(trial.loss).toPrecision(4));
    });
    list(panel, run.failed + " failed", run.failures, function (trial) {
      return trial.status + " " + trial.label + ": " + trial.error;
    });
    list(panel, run.bought_count + " added seed" + (run.bought_count === 1 ? "" : "s"), run.bought, function (buy) {
      return buy.at + " seed " + buy.seed + " of " + buy.arms.join(", ") + " on " + buy.benchmark + ": " + buy.reason;
    });
  }
  function look() {
    fetch("/live", {cache: "no-store"}).then(function (answer) { return answer.json(); }).then(function (answer) {
      if (seen !== null && answer.generation !== seen) {
        if (!touched && !document.querySelector(":focus-visible")) { location.reload(); return; }
        panel.dataset.waiting = "yes";
      }
      seen = answer.generation;
      show(answer);
    }, function () { show({run: null, trouble: "the server has ended"}); });
  }
  look();
  setInterval(look, 2000);
}());
