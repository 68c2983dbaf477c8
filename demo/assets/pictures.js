// Pictures of numbers, in the colours of the page.

function rampOf(name) {
  return color(name).split(",").map((text) => {
    const hex = text.trim().slice(1);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  });
}

function mixed(ramp, share) {
  const place = Math.max(0, Math.min(0.9999, share)) * (ramp.length - 1);
  const at = Math.floor(place);
  return ramp[at].map((low, i) => low + (ramp[at + 1][i] - low) * (place - at));
}

// Draw a picture over a canvas; of `rows` rows where it has fewer, the rest stays empty.
function drawPicture(canvas, picture, rampName, rows = picture.rows) {
  const small = document.createElement("canvas");
  [small.width, small.height] = [picture.columns, picture.rows];
  const values = new Uint16Array(fromBase64(picture.data).buffer);
  const image = new ImageData(picture.columns, picture.rows);
  const ramp = rampOf(rampName);
  const colors = Array.from({ length: picture.size }, (_, i) => mixed(ramp, i / (picture.size - 1)));
  values.forEach((value, i) => image.data.set([...colors[value], 255], 4 * i));
  small.getContext("2d").putImageData(image, 0, 0);
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (!width) return;
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  if (rows === picture.rows && picture.rows > 40) {
    pen.drawImage(small, 0, 0, width, height);
    return;
  }
  pen.imageSmoothingEnabled = false;
  const each = height / rows;
  for (let row = 0; row < rows; row++) {
    const [top, tall] = [Math.round(row * each), Math.max(1, Math.round((row + 1) * each) - Math.round(row * each) - scale)];
    pen.fillStyle = color("--ec-empty");
    if (row >= picture.rows) pen.fillRect(0, top, width, tall);
    else pen.drawImage(small, 0, row, picture.columns, 1, 0, top, width, tall);
  }
}
