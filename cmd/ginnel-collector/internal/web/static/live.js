// Fetches the page again every few seconds and puts its <main> and its clock
// in the place of ours. Without it the page reloads itself, more slowly.
(function () {
  "use strict";
  var live = document.getElementById("live");
  var failed = 0;

  function later() {
    setTimeout(update, document.hidden ? 30000 : 5000);
  }

  // A person who is reading with the keyboard, or selecting, is left alone.
  function busy(main) {
    var at = document.activeElement;
    return (at && at !== main && main.contains(at)) || String(getSelection()) !== "";
  }

  function swap(text) {
    var next = new DOMParser().parseFromString(text, "text/html");
    var main = document.getElementById("main");
    var fresh = next.getElementById("main");
    var clock = document.querySelector(".clock time");
    var newClock = next.querySelector(".clock time");
    if (!fresh || !newClock || busy(main)) return;
    if (main.innerHTML !== fresh.innerHTML) main.replaceChildren.apply(main, fresh.childNodes);
    clock.replaceWith(newClock);
    document.title = next.title;
  }

  function update() {
    fetch(location.href, { headers: { Accept: "text/html" } })
      .then(function (answer) {
        if (!answer.ok) throw new Error(answer.status);
        return answer.text();
      })
      .then(function (text) {
        swap(text);
        if (failed) live.textContent = "";
        failed = 0;
      })
      .catch(function () {
        failed++;
        if (failed === 2) live.textContent = "The collector does not answer. ";
      })
      .then(later);
  }

  later();
})();
